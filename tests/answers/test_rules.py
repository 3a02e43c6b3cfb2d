"""Nodes and answers against brute force on many small graphs, and on the real one."""

import itertools

import numpy as np
import pytest

from im21k import synsets
from im21k.answers import rules
from im21k.synsets import hierarchy, lookup

FULL = synsets.imagenet21k()
TREE = "n13104059"


def test_thousand_random_graphs_agree_with_brute_force(cases):
  for rng, graph, below, p in cases():
    found = graph.probabilities(p)
    n = p.shape[1]
    expected = [[sum(float(row[c]) for c in some) for some in below] for row in p]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert graph.count.tolist() == [len(some) for some in below]
    np.testing.assert_allclose(graph.information, np.log2(n / graph.count))
    for node, some in enumerate(below):
      assert set(graph.below(node).tolist()) == some
      shares = {other for other, those in enumerate(below) if those & some}
      assert set(graph.overlapping(node).tolist()) == shares
    a, b = rng.integers(0, n, 2)
    common = [len(some) for some in below if {a, b} <= some]
    assert graph.count[graph.lowest_common(a, b)] == min(common)
    assert all(graph.is_right(v, a) == (a in some) for v, some in enumerate(below))


def test_hedged_agrees_with_brute_force(cases):
  for rng, graph, _, p in cases(300):
    nodes = graph.probabilities(p)
    for lambda_ in rng.exponential(3, 5):
      value = (graph.information + lambda_) * nodes
      answers = rules.hedged(graph, nodes, lambda_)
      for (node, probability), row, mass in zip(answers, value, nodes, strict=True):
        assert row[node] == pytest.approx(row.max(), rel=1e-5)
        assert probability == mass[node]


def test_diverse_agrees_with_brute_force(cases):
  for _, graph, below, p in cases(300):
    nodes = graph.probabilities(p)
    k = 3
    reward = graph.information.astype(np.float32) * nodes[0]
    best = ()
    for size in range(1, k + 1):
      for some in itertools.permutations(np.flatnonzero(reward > 0).tolist(), size):
        if sum(len(below[v]) for v in some) == len(
          set().union(*(below[v] for v in some))
        ):
          best = max(best, tuple(float(reward[v]) for v in some))
    found = [v for v, _ in rules.diverse(graph, nodes, k)[0]]
    assert tuple(float(reward[v]) for v in found) == best


def test_a_photo_of_mountains_is_described_by_different_things_at_their_natural_level():
  """Its five likeliest classes are five kinds of fir."""
  graph = hierarchy.over(FULL)
  firs = [c for c in graph.below(graph.node["n11620673"])[-5:]]
  p = np.full(len(FULL), 0.04 / len(FULL), np.float32)
  p[firs] = 0.09
  # alp, volcano; valley, gorge; suspension bridge.
  for synset, share in (
    ("n09193705", 0.08), ("n09472597", 0.07), ("n09468604", 0.085), ("n09263912", 0.05),
    ("n04366367", 0.085), ("n04311004", 0.07),
  ):  # fmt: skip
    p[FULL.index(synset)] = share
  assert set(np.argsort(-p)[:5]) == set(firs)
  p /= p.sum()
  (found,) = rules.diverse(graph, graph.probabilities(p[None]), 4)
  names = [lookup.distinct_name(graph.ids[v]).partition(",")[0] for v, _ in found]
  assert names == ["fir", "mountain", "bridge", "valley"]


def test_among_is_renormalised_with_the_rest_as_none():
  p = np.array([[0.5, 0.3, 0.2], [0, 1, 0]], np.float32)
  found, none = rules.among(p, np.array([True, False, True]))
  np.testing.assert_allclose(found, [[5 / 7, 0, 2 / 7], [0, 0, 0]], rtol=1e-6)
  np.testing.assert_allclose(none, [0.3, 1], rtol=1e-6)


# The real graph.


def test_real_graph_counts_every_class_once():
  graph = hierarchy.over(FULL)
  assert len(graph.ids) == 23546
  root = graph.node["n00001740"]
  assert graph.count[root] == 21841 and graph.depth[root] == 0
  p = np.full((1, 21841), 1 / 21841, np.float32)
  nodes = graph.probabilities(p)[0]
  np.testing.assert_allclose(nodes, graph.count / 21841, rtol=1e-4)
  several = sum(len(graph.parents[node]) > 1 for node in graph.label_node)
  assert several == 453


def test_subsets_by_hypernym_list_and_kind():
  graph = hierarchy.over(FULL)
  trees = rules.allowed_classes(graph, FULL, under=[TREE])
  assert trees[FULL.index(TREE)] and 100 < trees.sum() < 2000
  assert not trees[FULL.index("n01440764")]
  leaves = rules.allowed_classes(graph, FULL, under=[TREE], only="leaves")
  assert 0 < leaves.sum() < trees.sum() and not leaves[FULL.index(TREE)]
  thousand = rules.allowed_classes(graph, FULL, listed=synsets.ilsvrc2012())
  assert thousand.sum() == 999
  objects = rules.allowed_classes(graph, FULL, only="objects")
  assert trees.sum() < objects.sum() < 21841
  with pytest.raises(ValueError, match="n99999999"):
    rules.allowed_classes(graph, FULL, under=["n99999999"])
  # A type checker, where one runs, is the first to refuse it.
  with pytest.raises((ValueError, TypeError), match="only"):
    rules.allowed_classes(graph, FULL, only="birds")
  with pytest.raises(ValueError, match="no class"):
    rules.allowed_classes(
      graph, FULL, under=[TREE], listed=synsets.ClassList("t", ("n01440764",))
    )


def test_of_a_chain_the_deepest_node_is_the_lowest_common_one():
  # root 0 > animal 1 > dog 2, a class, > poodle 3; fir 4 below the root.
  graph = hierarchy.Hierarchy(
    [f"n{at:08}" for at in range(5)], [[], [0], [1], [2], [0]], [2, 3, 4]
  )
  assert graph.lowest_common(0, 1) == graph.node["n00000002"]
  assert graph.lowest_common(1, 2) == graph.node["n00000000"]

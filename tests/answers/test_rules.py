"""Nodes and answers against brute force on many small graphs, and on the real one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from im21k import synsets
from im21k.answers import hedge, rules
from im21k.synsets import hierarchy, lookup

FULL = synsets.imagenet21k()
TREE = "n13104059"


def random_graph(rng):
  """Parents by node, and the nodes that are classes: all leaves, some inner ones."""
  size = int(rng.integers(2, 14))
  parents = [[]]
  for node in range(1, size):
    count = min(node, int(rng.integers(1, 4)))
    parents.append(sorted(rng.choice(node, count, replace=False).tolist()))
  inner = {above for some in parents for above in some}
  labels = [n for n in range(size) if n not in inner or rng.random() < 0.4]
  rng.shuffle(labels)
  return parents, labels


def sets_below(parents, labels):
  """The set of labels at or below each node, by recursion from the classes."""

  def above(node):
    return {node}.union(*(above(parent) for parent in parents[node]))

  over = [above(node) for node in labels]
  return [
    {at for at, some in enumerate(over) if n in some} for n in range(len(parents))
  ]


def cases(count=1000):
  rng = np.random.default_rng(0)
  for _ in range(count):
    parents, labels = random_graph(rng)
    ids = [f"n{node:08}" for node in range(len(parents))]
    graph = hierarchy.Hierarchy(ids, parents, labels)
    below = dict(zip(ids, sets_below(parents, labels), strict=True))
    p = rng.dirichlet(np.full(len(labels), 0.5), size=2).astype(np.float32)
    yield rng, graph, [below[synset] for synset in graph.ids], p


def test_thousand_random_graphs_agree_with_brute_force():
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


def test_hedged_and_its_path_agree_with_brute_force():
  for rng, graph, _, p in cases(300):
    nodes = graph.probabilities(p)
    path = hedge.path(graph, nodes[0])
    assert [at for at, _ in path] == sorted(at for at, _ in path)
    for trade in rng.exponential(3, 5):
      value = (graph.information + trade) * nodes[0]
      ((node, probability), _) = rules.hedged(graph, nodes, trade)
      assert value[node] == pytest.approx(value.max(), rel=1e-5)
      assert probability == nodes[0, node]
      walked = [v for at, v in path if at <= trade][-1]
      assert value[walked] == pytest.approx(value.max(), rel=1e-5)


def test_diverse_agrees_with_brute_force():
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


def test_a_photo_of_mountains_is_told_by_different_things_at_their_natural_level():
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
  with pytest.raises(ValueError, match="only is 'birds'"):
    rules.allowed_classes(graph, FULL, only="birds")
  with pytest.raises(ValueError, match="no class"):
    rules.allowed_classes(
      graph, FULL, under=[TREE], listed=synsets.ClassList("t", ("n01440764",))
    )


# The guarantee.


@pytest.fixture(scope="module")
def posteriors():
  """Calibrated by construction: each label is drawn from its photo's posterior."""
  rng = np.random.default_rng(1)
  classes = synsets.ClassList("some", FULL.synsets[::60])
  graph = hierarchy.over(classes)
  up = graph.probabilities(np.eye(len(classes), dtype=np.float32))
  share = up @ (up / graph.count**0.5).T  # Kin are confused with kin.
  centre = rng.integers(0, len(classes), 3000)
  logits = share[centre] * rng.gamma(2, 0.8, (3000, 1))
  logits = logits + rng.gumbel(size=logits.shape)
  p = np.exp(logits - logits.max(1, keepdims=True))
  p = (p / p.sum(1, keepdims=True)).astype(np.float32)
  labels = np.array(
    [rng.choice(len(classes), p=row / row.sum()) for row in p.astype(float)]
  )
  return graph, p, labels


def measured(graph, nodes, labels, trade):
  """Accuracy, and mean information of right answers."""
  chosen = [node for node, _ in rules.hedged(graph, nodes, trade)]
  right = [graph.is_right(v, c) for v, c in zip(chosen, labels, strict=True)]
  return np.mean(right), np.mean(graph.information[chosen] * right)


def published(graph, nodes, labels, accuracy):
  """Algorithm 1 of Deng et al. 2012: bisection over λ until it is within 1e-4."""
  low, high = 0.0, 1e5
  if measured(graph, nodes, labels, low)[0] >= accuracy:
    return low
  for _ in range(60):
    middle = (low + high) / 2
    enough = measured(graph, nodes, labels, middle)[0] >= accuracy
    low, high = (low, middle) if enough else (middle, high)
  return high


def fixed_level(graph, p, nodes, depth):
  """The likeliest of the nodes of a depth and the classes above it, for each photo."""
  value = np.where(graph.depth == depth, nodes, -1)
  above = np.flatnonzero(graph.depth[graph.label_node] < depth)
  value[:, graph.label_node[above]] = p[:, above]
  return value.argmax(1)


@pytest.mark.parametrize("confidence", [None, 0.95])
@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.95, 0.99])
def test_asked_accuracy_is_reached_with_most_information(
  posteriors, accuracy, confidence
):
  graph, p, labels = posteriors
  half = len(p) // 2
  first, second = labels[:half], labels[half:]
  trade = hedge.trades(graph, p[:half], first, [accuracy], confidence)[accuracy]
  nodes = graph.probabilities(p)
  mine, others = nodes[:half], nodes[half:]
  reached, told = measured(graph, mine, first, trade)
  margin = (
    0.0 if confidence is None else 2.5 * np.sqrt(accuracy * (1 - accuracy) / half)
  )
  assert reached >= accuracy
  if trade > 0:
    assert reached < accuracy + 0.01 + margin
  held_out, told_held_out = measured(graph, others, second, trade)
  error = 2.6 * np.sqrt(
    2 * accuracy * (1 - accuracy) / half
  )  # Both halves are samples.
  assert held_out >= accuracy - error
  if confidence:  # A margin costs information.
    return
  other = published(graph, mine, first, accuracy)
  assert told >= measured(graph, mine, first, other)[1] - 1e-6
  assert told_held_out >= measured(graph, others, second, other)[1] - 1e-6
  for depth in range(graph.depth.max() + 1):
    chosen = fixed_level(graph, p[:half], mine, depth)
    right = [graph.is_right(v, c) for v, c in zip(chosen, first, strict=True)]
    if np.mean(right) >= accuracy:
      assert told >= np.mean(graph.information[chosen] * right)
      chosen = fixed_level(graph, p[half:], others, depth)
      right = [graph.is_right(v, c) for v, c in zip(chosen, second, strict=True)]
      assert told_held_out >= np.mean(graph.information[chosen] * right)


def test_a_margin_keeps_the_promise_on_other_photos_as_often_as_asked(posteriors):
  """Its truth is known: a node of probability p is right with probability p."""
  graph, p, labels = posteriors
  nodes = graph.probabilities(p)

  def kept(confidence, asked=0.8, size=200):
    times = 0
    for start in range(0, len(p), size):
      some = slice(start, start + size)
      trade = hedge.trades(graph, p[some], labels[some], [asked], confidence)[asked]
      answered = rules.hedged(graph, nodes, trade)
      times += np.mean([probability for _, probability in answered]) >= asked
    return times / (len(p) // size)

  assert kept(0.9) >= 0.8  # Of 15 times, less than 12 have a chance of 0.06.
  assert kept(None) < 0.75


@settings(max_examples=100)
@given(st.floats(0.05, 0.999), st.integers(1, 400), st.floats(0.5, 0.999))
def test_what_must_be_right_is_the_exact_binomial_bound(accuracy, count, confidence):
  needed = hedge.needed_right(accuracy, count, confidence)
  tail = stats.binom.sf(np.arange(count + 1) - 1, count, accuracy)
  enough = np.flatnonzero(tail <= 1 - confidence)
  near = np.abs(tail - (1 - confidence)).min() < 1e-9
  assert near or needed == (enough[0] if enough.size else None)


def test_with_a_margin_every_greater_trade_is_good_enough_too(monkeypatch):
  """Without one, the first good one is taken, as published."""
  along = np.array([0.0, 1, 2, 3]), np.array([50, 96, 80, 100])
  monkeypatch.setattr(hedge, "_right_along", lambda *_: along)

  def found(confidence):
    none = np.zeros((100, 1), np.float32)
    return hedge.trades(None, none, [0] * 100, [0.8], confidence)[0.8]

  assert found(None) == pytest.approx(1, rel=1e-5)
  assert found(0.9) == pytest.approx(3, rel=1e-5)


def test_too_few_photos_cannot_vouch_for_much(posteriors):
  graph, p, labels = posteriors
  found = hedge.trades(graph, p[:40], labels[:40], [0.5, 0.99, 1.0], 0.95)
  assert [*found] == [0.5]
  with pytest.raises(ValueError, match=r"confidence is 1, but must be between"):
    hedge.trades(graph, p[:4], labels[:4], [0.5], 1)


def test_trades_refuse_what_cannot_be(posteriors):
  graph, p, labels = posteriors
  with pytest.raises(ValueError, match="no held-out photos"):
    hedge.trades(graph, p[:0], [], [0.9])
  with pytest.raises(ValueError, match=r"accuracy is 1\.5"):
    hedge.trades(graph, p[:2], labels[:2], [1.5])

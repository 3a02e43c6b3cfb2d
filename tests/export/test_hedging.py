"""Answers within a program: those of `answers.rules`."""

import jax
import numpy as np
import pytest

from im21k import synsets
from im21k.answers import calibration, rules
from im21k.export.hedging import Hedging
from im21k.synsets import hierarchy
from im21k.synsets.dag import Hierarchy

# Classes 0 and 1 below node 3; 1 and 2 below 4; all below 5: class 1 counts once there.
DIAMOND = Hierarchy("abcdef", [[3], [3, 4], [4], [5], [5], []], [0, 1, 2])


@pytest.fixture(scope="module")
def every():
  """The hierarchy over the 999 classes; over all of them shape checks take 8 s."""
  return hierarchy.over(synsets.ilsvrc2012())


@pytest.mark.parametrize(
  "graph, lambda_",
  [("999 classes", 2.5), *(("a diamond", some) for some in (0.0, 2.5, 1e4))],
)
def test_answers_are_those_of_the_rules(rng, every, graph, lambda_):
  graph = DIAMOND if graph == "a diamond" else every
  hedging = Hedging(graph, 0.7, 0.9, lambda_)
  logits = rng.normal(size=(50, len(graph.label_node))).astype(np.float32)
  logits[np.arange(50), rng.integers(0, logits.shape[1], 50)] += rng.uniform(0, 12, 50)
  answers = jax.device_get(jax.jit(hedging)(logits))
  probabilities = calibration.softmax(logits, 0.7)
  nodes = graph.probabilities(probabilities)
  expected = rules.hedged(graph, nodes, lambda_)
  assert answers["probabilities"] == pytest.approx(probabilities, rel=1e-5, abs=1e-9)
  assert answers["node"].tolist() == [node for node, _ in expected]
  assert answers["node"].dtype == np.int32
  assert answers["node_probability"] == pytest.approx(
    [p for _, p in expected], rel=1e-5
  )
  if graph is every:
    assert len(set(answers["node"].tolist())) > 5  # It is a choice.


def test_a_node_of_all_classes_has_at_most_all_of_the_probability(rng):
  logits = rng.normal(size=(200, 3)).astype(np.float32)
  answers = Hedging(DIAMOND, 1.0, 1.0, 1e9)(logits)
  assert float(answers["node_probability"].max()) <= 1
  assert np.unique(answers["node"]).tolist() == [5]


def test_pairs_are_each_node_with_each_class_below():
  nodes, below = Hedging(DIAMOND, 1.0, 0.9, 0.0).below()
  pairs = [(0, 0), (1, 1), (2, 2), (3, 0), (3, 1), (4, 1), (4, 2), (5, 0), (5, 1)]
  assert list(zip(nodes.tolist(), below.tolist(), strict=True)) == [*pairs, (5, 2)]


def test_the_description_names_every_node(every):
  graph = every
  described = Hedging(graph, 0.7, 0.9, 2.5).description()
  assert (described["temperature"], described["lambda"]) == (0.7, 2.5)
  assert described["accuracy"] == 0.9
  assert described["nodes"]["ids"] == list(graph.ids)
  node = graph.ids.index("n02084071")
  assert described["nodes"]["names"][node] == graph.name(node)

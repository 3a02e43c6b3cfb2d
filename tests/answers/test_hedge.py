"""λ of hedged answers: the accuracy asked for is reached, with most information."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.answers import hedge, rules


def test_the_path_is_the_answer_at_every_lambda(cases):
  for rng, graph, _, p in cases(300):
    nodes = graph.probabilities(p)
    path = hedge.path(graph, nodes[0])
    assert [at for at, _ in path] == sorted(at for at, _ in path)
    for lambda_ in rng.exponential(3, 5):
      value = (graph.information + lambda_) * nodes[0]
      ((node, probability), _) = rules.hedged(graph, nodes, lambda_)
      assert value[node] == pytest.approx(value.max(), rel=1e-5)
      assert probability == nodes[0, node]
      walked = [v for at, v in path if at <= lambda_][-1]
      assert value[walked] == pytest.approx(value.max(), rel=1e-5)


def measured(graph, nodes, labels, lambda_):
  """Accuracy, and mean information of right answers."""
  chosen = [node for node, _ in rules.hedged(graph, nodes, lambda_)]
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


@pytest.mark.slow
@pytest.mark.parametrize("confidence", [None, 0.95])
@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.95, 0.99])
def test_asked_accuracy_is_reached_with_most_information(
  posteriors, accuracy, confidence
):
  graph, p, labels = posteriors
  half = len(p) // 2
  first, second = labels[:half], labels[half:]
  lambda_ = hedge.lambdas(graph, p[:half], first, [accuracy], confidence)[accuracy]
  nodes = graph.probabilities(p)
  mine, others = nodes[:half], nodes[half:]
  reached, bits = measured(graph, mine, first, lambda_)
  margin = (
    0.0 if confidence is None else 2.5 * np.sqrt(accuracy * (1 - accuracy) / half)
  )
  assert reached >= accuracy
  if lambda_ > 0:
    assert reached < accuracy + 0.01 + margin
  held_out, bits_held_out = measured(graph, others, second, lambda_)
  error = 2.6 * np.sqrt(
    2 * accuracy * (1 - accuracy) / half
  )  # Both halves are samples.
  assert held_out >= accuracy - error
  if confidence:  # A margin costs information.
    return
  other = published(graph, mine, first, accuracy)
  assert bits >= measured(graph, mine, first, other)[1] - 1e-6
  assert bits_held_out >= measured(graph, others, second, other)[1] - 1e-6
  for depth in range(graph.depth.max() + 1):
    chosen = fixed_level(graph, p[:half], mine, depth)
    right = [graph.is_right(v, c) for v, c in zip(chosen, first, strict=True)]
    if np.mean(right) >= accuracy:
      assert bits >= np.mean(graph.information[chosen] * right)
      chosen = fixed_level(graph, p[half:], others, depth)
      right = [graph.is_right(v, c) for v, c in zip(chosen, second, strict=True)]
      assert bits_held_out >= np.mean(graph.information[chosen] * right)


@pytest.mark.slow
def test_a_margin_keeps_the_promise_on_other_photos_as_often_as_asked(posteriors):
  """Its truth is known: a node of probability p is right with probability p."""
  graph, p, labels = posteriors
  nodes = graph.probabilities(p)

  def kept(confidence, asked=0.8, size=200):
    times = 0
    for start in range(0, len(p), size):
      some = slice(start, start + size)
      lambda_ = hedge.lambdas(graph, p[some], labels[some], [asked], confidence)[asked]
      answered = rules.hedged(graph, nodes, lambda_)
      times += np.mean([probability for _, probability in answered]) >= asked
    return times / (len(p) // size)

  assert kept(0.9) >= 0.8  # Of 15 times, less than 12 have a chance of 0.06.
  assert kept(None) < 0.75


def tails(accuracy, count):
  """The chance that k or more of `count` are right, for each k, in exact fractions."""
  p = Fraction(accuracy)
  chances = [
    math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(count + 1)
  ]
  return [float(sum(chances[k:])) for k in range(count + 1)]


@settings(max_examples=60)
@given(st.floats(0.05, 0.999), st.integers(1, 60), st.floats(0.5, 0.999))
def test_what_must_be_right_is_the_exact_binomial_bound(accuracy, count, confidence):
  needed = hedge.needed_right(accuracy, count, confidence)
  tail = np.array(tails(accuracy, count))
  enough = np.flatnonzero(tail <= 1 - confidence)
  near = np.abs(tail - (1 - confidence)).min() < 1e-9
  assert near or needed == (enough[0] if enough.size else None)


@pytest.mark.parametrize(
  ("accuracy", "count", "confidence", "needed"),
  [
    # 0.8**9 > 0.1 > 0.8**11: of ten, all are too few; of eleven, all are enough.
    (0.8, 10, 0.9, None),
    (0.8, 11, 0.9, 11),
    (1.0, 1000, 0.5, None),
    (0.9, 1000, None, 900),
    (0.9, 1001, None, 901),
  ],
)
def test_how_many_must_be_right(accuracy, count, confidence, needed):
  assert hedge.needed_right(accuracy, count, confidence) == needed


def test_with_a_margin_every_greater_lambda_is_good_enough_too(posteriors, monkeypatch):
  """Without one, the first good one is taken, as published."""
  along = np.array([0.0, 1, 2, 3]), np.array([50, 96, 80, 100])
  monkeypatch.setattr(hedge, "_right_along", lambda *_: along)

  def found(confidence):
    none = np.zeros((100, 1), np.float32)
    labels = np.zeros(100, int)
    return hedge.lambdas(posteriors[0], none, labels, [0.8], confidence)[0.8]

  assert found(None) == pytest.approx(1, rel=1e-5)
  assert found(0.9) == pytest.approx(3, rel=1e-5)


def test_too_few_photos_cannot_vouch_for_much(posteriors):
  graph, p, labels = posteriors
  found = hedge.lambdas(graph, p[:40], labels[:40], [0.5, 0.99, 1.0], 0.95)
  assert [*found] == [0.5]
  with pytest.raises(ValueError, match=r"confidence is 1\.0, but must be between"):
    hedge.lambdas(graph, p[:4], labels[:4], [0.5], 1.0)


def test_lambdas_refuse_what_cannot_be(posteriors):
  graph, p, labels = posteriors
  with pytest.raises(ValueError, match="no held-out photos"):
    hedge.lambdas(graph, p[:0], labels[:0], [0.9])
  with pytest.raises(ValueError, match=r"accuracy is 1\.5"):
    hedge.lambdas(graph, p[:2], labels[:2], [1.5])

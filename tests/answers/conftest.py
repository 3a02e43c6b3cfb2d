"""Small random graphs, and classes whose true probabilities are known."""

import numpy as np
import pytest

from im21k import synsets
from im21k.synsets import hierarchy


@pytest.fixture(scope="session")
def cases():
  """`cases(count)`: pairs of random graphs and probabilities, with classes by node."""
  return _cases


def _random_graph(rng):
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


def _sets_below(parents, labels):
  """The set of labels at or below each node, by recursion from the classes."""

  def above(node):
    return {node}.union(*(above(parent) for parent in parents[node]))

  over = [above(node) for node in labels]
  return [
    {at for at, some in enumerate(over) if n in some} for n in range(len(parents))
  ]


def _cases(count=1000):
  rng = np.random.default_rng(0)
  for _ in range(count):
    parents, labels = _random_graph(rng)
    ids = [f"n{node:08}" for node in range(len(parents))]
    graph = hierarchy.Hierarchy(ids, parents, labels)
    below = dict(zip(ids, _sets_below(parents, labels), strict=True))
    p = rng.dirichlet(np.full(len(labels), 0.5), size=2).astype(np.float32)
    yield rng, graph, [below[synset] for synset in graph.ids], p


@pytest.fixture(scope="session")
def posteriors():
  """Calibrated by construction: each label is drawn from its photo's posterior."""
  rng = np.random.default_rng(1)
  classes = synsets.ClassList("some", synsets.imagenet21k().synsets[::60])
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

"""Branches: disjoint, of all photos, and where an answer falls."""

import numpy as np
import pytest

from im21k.pages import branches
from im21k.synsets import hierarchy

# root 0; plant 1, animal 2; fir 3, oak 4 (plants), cat 5 (animal), rock 6 (root).
# Catfir 7 is a fir and a cat.
GRAPH = hierarchy.Hierarchy(
  [f"n{i:08}" for i in range(8)],
  [[], [0], [0], [1], [1], [2], [0], [3, 5]],
  [3, 4, 5, 6, 7],
)
FIR, OAK, CAT, ROCK, CATFIR = range(5)


def chosen(labels, most):
  found = branches.choose(GRAPH, np.array(labels), most)
  return [
    (int(GRAPH.ids[b.node][1:]), np.flatnonzero(b.classes).tolist()) for b in found
  ]


def test_the_fullest_branch_is_divided_first():
  labels = [FIR] * 5 + [OAK] * 4 + [CAT] * 2 + [ROCK]
  assert chosen(labels, 1) == [(0, [0, 1, 2, 3, 4])]
  assert chosen(labels, 2) == [(1, [FIR, OAK, CATFIR]), (0, [CAT, ROCK])]
  # Fir takes the catfir along, for plants had it before the animals.
  assert chosen(labels, 3) == [(3, [FIR, CATFIR]), (4, [OAK]), (0, [CAT, ROCK])]
  assert chosen([CAT], 3) == [(5, [CAT, CATFIR])], "as low as it can be"


@pytest.mark.parametrize("most", range(1, 9))
def test_branches_are_disjoint_and_hold_every_photo(most):
  rng = np.random.default_rng(most)
  labels = rng.integers(0, 5, 40)
  found = branches.choose(GRAPH, labels, most)
  assert len(found) <= most
  assert (sum(b.classes.astype(int) for b in found) <= 1).all()
  assert all(any(b.classes[label] for b in found) for label in labels)
  for branch in found:
    inside = np.flatnonzero(branch.classes)
    assert set(inside) <= set(GRAPH.below(branch.node).tolist())


def test_confusion_counts_photos_by_both_branches():
  labels = np.array([FIR, FIR, OAK, CAT, CAT])
  found = branches.choose(GRAPH, labels, 2)
  assert [b.node for b in found] == [GRAPH.node["n00000001"], GRAPH.node["n00000005"]]
  table = branches.confusion(found, labels, np.array([OAK, CAT, FIR, CAT, ROCK]))
  assert table.tolist() == [[2, 1, 0], [0, 1, 1]]

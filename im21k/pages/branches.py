"""A few branches of the hierarchy that photos are spread over, and their confusion."""

import dataclasses

import numpy as np
import numpy.typing as npt

from im21k.synsets.hierarchy import Hierarchy


@dataclasses.dataclass
class Branch:
  """Classes at or below a node.

  Attributes:
    node: that all lie at or below.
    classes: bool `[classes]`.
  """

  node: int
  classes: npt.NDArray[np.bool_]


def choose(
  hierarchy: Hierarchy, labels: npt.NDArray[np.int64], most: int = 8
) -> list[Branch]:
  """Up to `most` disjoint branches that hold all photos, the fullest first.

  From the roots on, the fullest branch gives up the fullest part of it that lies below
  one node; a branch without photos is none. In the end each is what lies at or below
  the lowest node that has all its photos.
  """
  photos = np.bincount(labels, minlength=len(hierarchy.label_node))
  below: list[list[int]] = [[] for _ in hierarchy.ids]
  for node, parents in enumerate(hierarchy.parents):
    for above in parents:
      below[above].append(node)
  chosen: list[Branch] = []
  free = np.ones(len(photos), bool)
  for node, parents in enumerate(hierarchy.parents):
    if not parents:
      chosen.append(Branch(node, _part(hierarchy, node, free)))
      free &= ~chosen[-1].classes

  def size(classes: npt.NDArray[np.bool_]) -> int:
    return int(photos[classes].sum())

  def fullest(branch: Branch) -> Branch | None:
    """What lies below the node directly below that has most photos."""
    parts = [Branch(v, _part(hierarchy, v, branch.classes)) for v in below[branch.node]]
    largest = max(parts, key=lambda part: size(part.classes), default=None)
    return largest if largest and size(largest.classes) else None

  def give_up(branch: Branch) -> bool:
    if part := fullest(branch):
      branch.classes = branch.classes & ~part.classes
      chosen.append(part)
    return part is not None

  while True:
    chosen = [branch for branch in chosen if size(branch.classes)]
    chosen.sort(key=lambda b: (-size(b.classes), hierarchy.ids[b.node]))
    if len(chosen) >= most or not any(give_up(branch) for branch in chosen):
      break
  for branch in chosen:
    while (part := fullest(branch)) and size(part.classes) == size(branch.classes):
      branch.node, branch.classes = part.node, part.classes
  return chosen


def confusion(
  branches: list[Branch],
  labels: npt.NDArray[np.int64],
  answers: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
  """`[branches, branches + 1]`: photos by branch of their class and of the answer.

  The last column counts answers of no branch.
  """
  of_class = np.full(len(branches[0].classes), len(branches))
  for at, branch in enumerate(branches):
    of_class[branch.classes] = at
  table = np.zeros((len(branches), len(branches) + 1), int)
  np.add.at(table, (of_class[labels], of_class[answers]), 1)
  return table


def _part(
  hierarchy: Hierarchy, node: int, classes: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
  """Those of the classes that lie at or below a node."""
  under = np.zeros(len(classes), bool)
  under[hierarchy.below(node)] = True
  return under & classes

"""Hierarchy and labels -> a few branches that hold all photos, and their confusion."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from im21k.synsets.hierarchy import Hierarchy


@dataclasses.dataclass
class Branch:
  """Classes at or below a node.

  Attributes:
    node: the common ancestor of the classes, or the only one.
    classes: bool `[classes]`, which belong to the branch.
  """

  node: int
  classes: Bool[np.ndarray, " classes"]


def choose(
  hierarchy: Hierarchy, labels: Int[np.ndarray, " photos"], most: int = 8
) -> list[Branch]:
  """Up to `most` disjoint branches that hold all photos, the fullest first.

  Starting with the roots, the branch with most photos is split: its part below one
  node becomes a branch of its own, the part with most photos first. Branches without
  photos are dropped. In the end each branch moves down to the lowest node that is above
  all its photos.
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

  def size(classes: Bool[np.ndarray, " classes"]) -> int:
    return int(photos[classes].sum())

  def fullest(branch: Branch) -> Branch | None:
    """The part below the child with most photos; None if no part has photos."""
    parts = [Branch(v, _part(hierarchy, v, branch.classes)) for v in below[branch.node]]
    largest = max(parts, key=lambda part: size(part.classes), default=None)
    return largest if largest and size(largest.classes) else None

  def split(branch: Branch) -> bool:
    if part := fullest(branch):
      branch.classes = branch.classes & ~part.classes
      chosen.append(part)
    return part is not None

  while True:
    chosen = [branch for branch in chosen if size(branch.classes)]
    chosen.sort(key=lambda b: (-size(b.classes), hierarchy.ids[b.node]))
    if len(chosen) >= most or not any(split(branch) for branch in chosen):
      break
  for branch in chosen:
    while (part := fullest(branch)) and size(part.classes) == size(branch.classes):
      branch.node, branch.classes = part.node, part.classes
  return chosen


def confusion(
  branches: list[Branch],
  labels: Int[np.ndarray, " photos"],
  answers: Int[np.ndarray, " photos"],
) -> Int[np.ndarray, "branches columns"]:
  """`[branches, branches + 1]`: photos by branch of their class and of the answer.

  The last column counts answers outside all branches.
  """
  of_class = np.full(len(branches[0].classes), len(branches))
  for at, branch in enumerate(branches):
    of_class[branch.classes] = at
  table = np.zeros((len(branches), len(branches) + 1), int)
  np.add.at(table, (of_class[labels], of_class[answers]), 1)
  return table


def _part(
  hierarchy: Hierarchy, node: int, classes: Bool[np.ndarray, " classes"]
) -> Bool[np.ndarray, " classes"]:
  """Those of the classes at or below a node."""
  under = np.zeros(len(classes), bool)
  under[hierarchy.below(node)] = True
  under &= classes
  return under

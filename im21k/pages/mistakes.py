"""Probabilities and labels -> where a model is wrong: by branch, and by class."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from im21k.pages import branches, render
from im21k.synsets.hierarchy import Hierarchy

_SHOWN = 6  # Of the best and of the worst classes.


@dataclasses.dataclass(frozen=True)
class Figure:
  """A photo of a class: its name, the image's `src`, and a caption."""

  name: str
  source: str
  caption: str


def confusion(
  hierarchy: Hierarchy,
  probabilities: Float32[np.ndarray, "photos classes"],
  labels: Int[np.ndarray, " photos"],
) -> tuple[list[str], list[tuple[str, ...]]]:
  """Heads and rows of a table: of 100 photos of a row's branch, how many in each.

  The last column counts answers outside all branches; it is left out where empty.
  """
  chosen = branches.choose(hierarchy, labels)
  counts = branches.confusion(chosen, labels, probabilities.argmax(1))
  rows = []
  for at, (branch, row) in enumerate(zip(chosen, counts, strict=True), 1):
    name = hierarchy.name(branch.node).partition(",")[0]
    other = "" if branch.classes[hierarchy.below(branch.node)].all() else "other "
    shares = [f"{100 * n / row.sum():.0f}" if n else "" for n in row]
    rows.append((f"{at} {other}{name} ({row.sum():,})", *shares))
  heads = ["branch (photos)", *map(str, range(1, len(chosen) + 1)), "else"]
  if not counts[:, -1].any():
    return heads[:-1], [row[:-1] for row in rows]
  return heads, rows


def best_and_worst(
  hierarchy: Hierarchy,
  probabilities: Float32[np.ndarray, "photos classes"],
  labels: Int[np.ndarray, " photos"],
  pixels: Callable[[list[int]], list[UInt8[np.ndarray, "_ _ 3"]]],
) -> tuple[list[Figure], list[Figure]]:
  """Classes by their share of correct predictions, then by the mean probability.

  Classes that are never right are not among the best, classes that are always right
  not among the worst; of few classes, half of those that err are the worst.

  Args:
    hierarchy: hierarchy of the classes.
    probabilities: of each photo.
    labels: of each photo.
    pixels: gives photos by their numbers; asked once, for archives are slow to search.

  Returns:
    Figures of the best classes, each with its most certain photo; and of the worst,
    each with its least certain one.
  """
  own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
  answers = probabilities.argmax(1)
  share = {
    label: float((answers[labels == label] == label).mean())
    for label in np.unique(labels).tolist()
  }
  order = sorted(share, key=lambda label: (share[label], own[labels == label].mean()))
  half = -(-len(order) // 2)  # Of few classes, the other half are the worst.
  best = [
    label
    for at, label in enumerate(order[::-1])
    if share[label] > 0 and (share[label] == 1 or at < half)
  ][:_SHOWN]
  worst = [label for label in order if share[label] < 1 and label not in best][:_SHOWN]

  def extreme(label: int, choose: Callable[[Any], Any]) -> int:
    mine = np.flatnonzero(labels == label)
    return int(mine[choose(own[mine])])

  chosen = [(label, extreme(label, np.argmax)) for label in best]
  chosen += [(label, extreme(label, np.argmin)) for label in worst]
  figures = []
  shown = pixels([at for _, at in chosen]) if chosen else []
  for (label, at), photo in zip(chosen, shown, strict=True):
    right, answer = answers[labels == label] == label, int(answers[at])
    name = _name(hierarchy, label)
    caption = (
      f"{name}: {right.sum():,} of {len(right):,} correct; this one predicted "
      f"{_name(hierarchy, answer)} ({probabilities[at, answer]:.0%})"
    )
    figures.append(Figure(name, render.data_uri(photo), caption))
  return figures[: len(best)], figures[len(best) :]


def _name(hierarchy: Hierarchy, label: int) -> str:
  return hierarchy.name(int(hierarchy.label_node[label])).partition(",")[0]

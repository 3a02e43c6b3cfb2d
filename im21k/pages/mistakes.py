"""Probabilities and labels -> where a model is wrong: by class, and by how far."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from im21k import words
from im21k.evaluation import hierarchical
from im21k.synsets.hierarchy import Hierarchy

_SHOWN = 6  # Of the best and of the worst classes.
_GALLERY, _OF_A_CLASS = 24, 2  # Photos of the worst mistakes, in all and of a class.
MOST_CLASSES = 2_500  # Rows of the table of classes: more make the page slow.


@dataclasses.dataclass(frozen=True)
class Chosen:
  """A photo to show: its number, a name, and what is said below it, line by line."""

  photo: int
  name: str
  lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ClassRow:
  """A class: its photos, those that are right, and what it is mostly taken for."""

  synset: str
  name: str
  photos: int
  right: int
  probability: float
  taken_for: str


@dataclasses.dataclass(frozen=True)
class Levels:
  """Photos whose answers are equally far off: in words, how many, and an example."""

  name: str
  photos: int
  share: float
  example: str


@dataclasses.dataclass(frozen=True)
class Answers:
  """What a model says of labelled photos.

  Attributes:
    hierarchy: hierarchy of the classes.
    probabilities: of each photo.
    labels: of each photo.
  """

  hierarchy: Hierarchy
  probabilities: Float32[np.ndarray, "photos classes"]
  labels: Int[np.ndarray, " photos"]

  @property
  def first(self) -> Int[np.ndarray, " photos"]:
    """The likeliest class of each photo."""
    first: Int[np.ndarray, " photos"] = self.probabilities.argmax(1)
    return first

  @property
  def own(self) -> Float32[np.ndarray, " photos"]:
    """The probability of each photo's right class."""
    photos = np.arange(len(self.labels))
    own: Float32[np.ndarray, " photos"] = self.probabilities[photos, self.labels]
    return own

  def name(self, label: int) -> str:
    """The first word for a class."""
    node = int(self.hierarchy.label_node[label])
    return self.hierarchy.name(node).partition(",")[0]


def classes(answers: Answers) -> list[ClassRow]:
  """A row for each class that has photos, the worst first.

  Classes are ordered by their share of correct predictions, then by the mean
  probability of the right class.
  """
  first, own = answers.first, answers.own
  rows = []
  for label in np.unique(answers.labels).tolist():
    mine = answers.labels == label
    wrong = Counter(first[mine & (first != label)].tolist())
    taken_for = ""
    if wrong:
      other, count = max(wrong.items(), key=lambda item: (item[1], -item[0]))
      taken_for = f"{answers.name(other)} ({count:,})"
    node = int(answers.hierarchy.label_node[label])
    rows.append(
      ClassRow(
        answers.hierarchy.ids[node],
        answers.name(label),
        int(mine.sum()),
        int((first[mine] == label).sum()),
        float(own[mine].mean(dtype=np.float64)),
        taken_for,
      )
    )
  return sorted(rows, key=lambda row: (row.right / row.photos, row.probability))


def best_and_worst(answers: Answers) -> tuple[list[Chosen], list[Chosen]]:
  """Photos of the best and worst classes, in the order of `classes`.

  Classes that are never right are not among the best, classes that are always right
  not among the worst; of few classes, half of those that err are the worst.

  Returns:
    Of the best classes, each with its most certain photo; and of the worst, each with
    its least certain one.
  """
  own, first, labels = answers.own, answers.first, answers.labels
  by_id = {
    answers.hierarchy.ids[int(node)]: label
    for label, node in enumerate(answers.hierarchy.label_node)
  }
  order = classes(answers)
  half = -(-len(order) // 2)
  best = [
    row
    for at, row in enumerate(order[::-1])
    if row.right and (row.right == row.photos or at < half)
  ][:_SHOWN]
  worst = [row for row in order if row.right < row.photos and row not in best][:_SHOWN]

  def chosen(row: ClassRow, choose: Callable[[Any], Any]) -> Chosen:
    mine = np.flatnonzero(labels == by_id[row.synset])
    at = int(mine[choose(own[mine])])
    answer = int(first[at])
    said = f"{answers.name(answer)} ({answers.probabilities[at, answer]:.0%})"
    score = f"{row.right:,} of {row.photos:,} correct"
    return Chosen(at, row.name, (row.name, score, f"this one predicted {said}"))

  return (
    [chosen(row, np.argmax) for row in best],
    [chosen(row, np.argmin) for row in worst],
  )


def gallery(answers: Answers) -> tuple[list[Levels], list[Chosen]]:
  """How far off the answers are, and the photos of the worst mistakes.

  A mistake is as many levels off as the right class is below the lowest node that is
  above both it and the answer; none, where the answer is a kind of the right class.
  The worst are the furthest, the most certain first, and two of a class at most.

  Returns:
    A row for each distance that occurs, from the right ones on; and the photos.
  """
  first, labels = answers.first, answers.labels
  certain = answers.probabilities[np.arange(len(labels)), first]
  off: dict[int, int] = {}
  meet: dict[int, int] = {}
  for at in np.flatnonzero(first != labels).tolist():
    off[at], meet[at] = hierarchical.levels_off(
      answers.hierarchy, int(first[at]), int(labels[at])
    )
  order = sorted(off, key=lambda at: (-off[at], -float(certain[at])))
  rows = []
  if right := len(labels) - len(off):
    rows.append(Levels("right", right, right / len(labels), ""))
  for levels, photos in sorted(Counter(off.values()).items()):
    at = next(at for at in order if off[at] == levels)
    example = (
      f"{answers.name(int(labels[at]))} taken for {answers.name(int(first[at]))}"
    )
    rows.append(Levels(_off(levels), photos, photos / len(labels), example))
  chosen: list[Chosen] = []
  shown: Counter[int] = Counter()
  for at in order:
    shown[label := int(labels[at])] += 1
    if shown[label] > _OF_A_CLASS or len(chosen) == _GALLERY:
      continue
    name = answers.name(label)
    both = answers.hierarchy.name(meet[at]).partition(",")[0]
    said = f"predicted {answers.name(int(first[at]))} ({certain[at]:.0%})"
    chosen.append(Chosen(at, name, (name, said, f"{_off(off[at])}: both are {both}")))
  return rows, chosen


def _off(levels: int) -> str:
  return (
    f"{words.counted(levels, 'level')} off" if levels else "a kind of the right one"
  )

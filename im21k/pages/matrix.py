"""Answers and labels -> confusion by branch of the hierarchy, as a coloured matrix.

Each branch of the matrix opens into a matrix of its own.
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from im21k.pages import branches
from im21k.synsets.hierarchy import Hierarchy

MOST, MOST_INSIDE = 10, 8  # Branches: as many columns as a phone can show.


@dataclasses.dataclass(frozen=True)
class Cell:
  """Of 100 photos of a row, those predicted in a column: text, and shade from 0."""

  text: str
  shade: int
  right: bool


@dataclasses.dataclass(frozen=True)
class Row:
  """A branch: its number, which is that of its column, its name and its photos."""

  number: int
  name: str
  photos: int
  cells: list[Cell]


@dataclasses.dataclass(frozen=True)
class Matrix:
  """Rows of branches, the fullest first; `outside`: whether there is a last column."""

  rows: list[Row]
  outside: bool


@dataclasses.dataclass(frozen=True)
class Opened:
  """A branch from within: the classes' own accuracy, and the matrix of its parts."""

  number: int
  name: str
  photos: int
  top_1: float
  matrix: Matrix


def confusion(
  hierarchy: Hierarchy,
  answers: Int[np.ndarray, " photos"],
  labels: Int[np.ndarray, " photos"],
  most: int = MOST,
) -> tuple[Matrix, list[Opened]]:
  """How photos of each branch are predicted, and the same within each branch.

  Answers outside all branches are counted in a last column, where there are any.

  Args:
    hierarchy: hierarchy of the classes.
    answers: the class that is predicted of each photo.
    labels: the right class of each photo.
    most: number of branches.
  """
  chosen = branches.choose(hierarchy, labels, most)
  matrix = _matrix(hierarchy, chosen, answers, labels)
  opened = []
  for row, branch in zip(matrix.rows, chosen, strict=True):
    inside = branch.classes[labels]
    within = branches.choose(hierarchy, labels[inside], MOST_INSIDE)
    if len(within) > 1:
      right = float((answers[inside] == labels[inside]).mean())
      parts = _matrix(hierarchy, within, answers[inside], labels[inside])
      opened.append(Opened(row.number, row.name, row.photos, right, parts))
  return matrix, opened


def _matrix(
  hierarchy: Hierarchy,
  chosen: list[branches.Branch],
  answers: Int[np.ndarray, " photos"],
  labels: Int[np.ndarray, " photos"],
) -> Matrix:
  counts = branches.confusion(chosen, labels, answers)
  outside = bool(counts[:, -1].any())
  rows = []
  for at, (branch, counted) in enumerate(zip(chosen, counts, strict=True)):
    shown = counted if outside else counted[:-1]
    name = hierarchy.name(branch.node).partition(",")[0]
    whole = branch.classes[hierarchy.below(branch.node)].all()
    cells = [
      _cell(int(n), int(counted.sum()), column == at) for column, n in enumerate(shown)
    ]
    name = name if whole else f"other {name}"
    rows.append(Row(at + 1, name, int(counted.sum()), cells))
  return Matrix(rows, outside)


def _cell(photos: int, of: int, right: bool) -> Cell:
  share = photos / of
  text = "" if not photos else "<1" if share < 0.005 else f"{100 * share:.0f}"
  return Cell(text, round(10 * share) if share >= 0.05 else int(photos > 0), right)

"""Confusion by branch: of 100 photos of a row, and the same within each branch."""

import numpy as np

from im21k.pages import matrix
from im21k.synsets import hierarchy

# root 0; plant 1: fir 3, oak 4; animal 2: cat 5, dog 6.
GRAPH = hierarchy.Hierarchy(
  ["n00001740", "n00017222", "n00015388", "n11608250", "n12268246", "n02121620",
   "n02084071"],
  [[], [0], [0], [1], [1], [2], [2]],
  [3, 4, 5, 6],
)  # fmt: skip
FIR, OAK, CAT, DOG = range(4)


def texts(one):
  return [[cell.text for cell in row.cells] for row in one.rows]


def test_rows_are_of_100_photos_and_the_diagonal_is_right():
  labels = np.array([FIR, FIR, OAK, OAK, CAT, CAT, DOG])
  answers = np.array([FIR, OAK, OAK, CAT, CAT, CAT, CAT])
  table, opened = matrix.confusion(GRAPH, answers, labels, most=2)
  assert [row.photos for row in table.rows] == [4, 3] and not table.outside
  assert texts(table) == [["75", "25"], ["", "100"]]
  assert [[cell.right for cell in row.cells] for row in table.rows] == [
    [True, False],
    [False, True],
  ]
  assert [[cell.shade for cell in row.cells] for row in table.rows] == [[8, 2], [0, 10]]
  plants, animals = opened
  assert (plants.number, plants.photos, plants.top_1) == (1, 4, 0.5)
  # Of the two oaks one is taken for a cat, which is outside.
  assert plants.matrix.outside and texts(plants.matrix) == [
    ["50", "50", ""],
    ["", "50", "50"],
  ]
  assert animals.top_1 == 2 / 3 and not animals.matrix.outside
  # All three photos are predicted to be cats.
  assert texts(animals.matrix) == [["100", ""], ["100", ""]]


def test_answers_outside_all_branches_have_a_column():
  table, opened = matrix.confusion(GRAPH, np.array([FIR]), np.array([CAT]))
  assert table.outside and texts(table) == [["", "100"]]
  assert not opened, "a branch of one class has no parts"


def test_few_of_many_are_not_none():
  labels = np.array([FIR] * 300 + [OAK])
  answers = np.array([FIR] * 299 + [OAK] * 2)
  table, _ = matrix.confusion(GRAPH, answers, labels, most=2)
  assert texts(table)[0] == ["100", "<1"] and table.rows[0].cells[1].shade == 1

"""Where a model is wrong: true numbers, the right photos."""

import numpy as np
import pytest

from im21k.pages import mistakes
from im21k.synsets import hierarchy

GRAPH = hierarchy.Hierarchy(
  ["n00001740", "n11608250", "n12268246", "n02121620"],
  [[], [0], [0], [0]],
  [1, 2, 3],
)
FIR, OAK, CAT = range(3)
# Photo by photo: fir is right twice of two, oak once of two, cat never.
LABELS = np.array([FIR, OAK, CAT, FIR, OAK])
P = np.array(
  [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.2, 0.1], [0.6, 0.2, 0.2], [0.5, 0.3, 0.2]],
  np.float32,
)
ANSWERS = mistakes.Answers(GRAPH, P, LABELS)
NAMES = [ANSWERS.name(label) for label in range(3)]


def test_classes_are_ordered_by_their_share_of_correct_predictions():
  rows = mistakes.classes(ANSWERS)
  assert [(row.name, row.right, row.photos) for row in rows] == [
    (NAMES[CAT], 0, 1),
    (NAMES[OAK], 1, 2),
    (NAMES[FIR], 2, 2),
  ]
  assert [row.taken_for for row in rows] == [f"{NAMES[FIR]} (1)"] * 2 + [""]
  assert [round(row.probability, 3) for row in rows] == [0.1, 0.55, 0.75]
  assert rows[0].synset == "n02121620"


def test_the_best_show_their_most_certain_photo_and_the_worst_their_least():
  best, worst = mistakes.best_and_worst(ANSWERS)
  assert [(one.name, one.photo) for one in best] == [(NAMES[FIR], 0), (NAMES[OAK], 1)]
  assert [(one.name, one.photo) for one in worst] == [(NAMES[CAT], 2)]
  assert best[0].lines[1:] == (
    "2 of 2 correct",
    f"this one predicted {NAMES[FIR]} (90%)",
  )
  assert best[1].lines[1:] == (
    "1 of 2 correct",
    f"this one predicted {NAMES[OAK]} (80%)",
  )
  assert worst[0].lines[1:] == (
    "0 of 1 correct",
    f"this one predicted {NAMES[FIR]} (70%)",
  )


def test_classes_that_are_always_right_are_not_among_the_worst():
  best, worst = mistakes.best_and_worst(mistakes.Answers(GRAPH, P, P.argmax(1)))
  assert len(best) == 2 and worst == []


def test_of_few_classes_some_are_the_worst():
  """All three are right at times: the best half, and the rest."""
  p = np.full((6, 3), 0.1, np.float32)
  labels = np.repeat([0, 1, 2], 2)
  p[np.arange(6), [0, 0, 1, 0, 2, 1]] = 0.8
  best, worst = mistakes.best_and_worst(mistakes.Answers(GRAPH, p, labels))
  assert (len(best), len(worst)) == (2, 1)


# root 0; animal 1, plant 2; dog 3 is a class and above poodle 4; fir 5.
DEEP = hierarchy.Hierarchy(
  ["n00001740", "n00015388", "n00017222", "n02084071", "n02113335", "n11608250"],
  [[], [0], [0], [1], [3], [2]],
  [3, 4, 5],
)
DOG, POODLE, TREE = range(3)


def answers(pairs):
  """Of photos of these (label, predicted): the first is the most certain."""
  p = np.zeros((len(pairs), 3), np.float32)
  for at, (_, predicted) in enumerate(pairs):
    p[at, predicted] = 0.9 - 0.01 * at
  return mistakes.Answers(DEEP, p, np.array([label for label, _ in pairs]))


def test_mistakes_are_as_many_levels_off_as_the_truth_is_below_what_both_are():
  pairs = [
    (DOG, DOG),
    (DOG, POODLE),
    (POODLE, DOG),
    (TREE, DOG),
    (POODLE, TREE),
    (DOG, TREE),
  ]
  levels, chosen = mistakes.gallery(answers(pairs))
  assert [(row.name, row.photos) for row in levels] == [
    ("right", 1),
    ("a kind of the right one", 1),
    ("1 level off", 1),
    ("2 levels off", 2),
    ("3 levels off", 1),
  ]
  assert sum(row.share for row in levels) == pytest.approx(1)
  assert levels[0].example == "" and " taken for " in levels[1].example
  # The furthest first, of these the most certain.
  assert [one.photo for one in chosen] == [4, 3, 5, 2, 1]
  assert chosen[0].lines[2].startswith("3 levels off: both are ")


def test_a_class_is_shown_twice_and_no_more():
  _, chosen = mistakes.gallery(answers([(TREE, DOG)] * 5 + [(DOG, TREE)]))
  assert [one.photo for one in chosen] == [0, 1, 5]


def test_without_mistakes_there_is_nothing_to_show():
  levels, chosen = mistakes.gallery(answers([(DOG, DOG)] * 3))
  assert chosen == [] and [(row.name, row.share) for row in levels] == [("right", 1.0)]

"""Hierarchical measures, counted by hand on a graph small enough to see."""

import numpy as np
import pytest

from im21k.evaluation import hierarchical
from im21k.synsets import hierarchy

# root 0; plant 1, animal 2; fir 3, oak 4 (plants), cat 5 (animal)
GRAPH = hierarchy.Hierarchy(
  [f"n{i:08}" for i in range(6)], [[], [0], [0], [1], [1], [2]], [3, 4, 5]
)


def test_measures_are_those_counted_by_hand():
  p = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.5, 0.1, 0.4]], np.float32)
  found = hierarchical.measure(GRAPH, p, np.arange(3), {0.5: 0.0, 1.0: 1e4})
  assert found["depths"] == [
    {"depth": 0, "photos": 3, "accuracy": 1.0},
    {"depth": 1, "photos": 3, "accuracy": 2 / 3},
    {"depth": 2, "photos": 3, "accuracy": 1 / 3},
  ]
  assert found["mistake_height"] == 1.5  # Oak as fir: 1; cat as fir: 2.
  safe = found["hedged"][1]
  root = {"accuracy": 1.0, "information": 0.0, "depth": 0.0}
  assert safe == {"asked": 1.0, **root, "fixed": {"level": 0, **root}}
  # Without hedging bits · probability decides: fir 0.95; fir 0.79; fir 0.79.
  bold = found["hedged"][0]
  assert bold["accuracy"] == 1 / 3
  assert bold["information"] == pytest.approx(np.log2(3) / 3)
  # Flat: fir, right once of three. Level 1: plant 0.9, 0.9, 0.6: right twice.
  bits = np.log2(3 / 2)
  assert found["flat"] == {
    "accuracy": 1 / 3, "information": pytest.approx(np.log2(3) / 3), "depth": 2.0,
  }  # fmt: skip
  assert found["levels"][1] == {
    "level": 1, "accuracy": 2 / 3, "information": pytest.approx(2 * bits / 3),
    "depth": 1.0,
  }  # fmt: skip
  # Of levels 0 and 1, which reach half, the second tells more.
  assert bold["fixed"] == found["levels"][1]
  assert "  best fixed level, 1         66.67%" in hierarchical.text(found)
  assert "mistakes meet the truth 1.50 levels up" in hierarchical.text(found)


def test_no_mistakes_have_no_height():
  found = hierarchical.measure(GRAPH, np.eye(3, dtype=np.float32), np.arange(3), {})
  assert found["mistake_height"] is None and found["hedged"] == []
  assert "mistakes" not in hierarchical.text(found)
  with pytest.raises(ValueError, match="no photos"):
    hierarchical.measure(GRAPH, np.zeros((0, 3), np.float32), np.arange(0), {})


def test_a_fixed_level_below_a_class_answers_with_the_class():
  """Cat is a class of depth 1, fir and oak have depth 2."""
  graph = hierarchy.Hierarchy(
    [f"n{i:08}" for i in range(5)], [[], [0], [0], [1], [1]], [2, 3, 4]
  )
  p = np.array([[0.6, 0.2, 0.2], [0.1, 0.3, 0.6]], np.float32)
  found = hierarchical.measure(graph, p, np.array([0, 1]), {})
  assert [row["accuracy"] for row in found["levels"]] == [1, 1, 0.5]
  assert found["levels"][2]["depth"] == 1.5


def test_at_a_fixed_level_a_class_above_stands_for_itself_alone():
  """Animal is a class, and cat and dog are classes below it."""
  graph = hierarchy.Hierarchy(
    [f"n{i:08}" for i in range(4)], [[], [0], [1], [1]], [1, 2, 3]
  )
  p = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], np.float32)
  found = hierarchical.measure(graph, p, np.array([1, 0]), {})
  assert [row["depth"] for row in found["levels"]] == [0, 1, 1.5]
  assert [row["accuracy"] for row in found["levels"]] == [1, 1, 1]


def test_classes_of_few_training_photos_are_a_group_of_their_own():
  p = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.5, 0.1, 0.4]], np.float32)
  found = hierarchical.measure(GRAPH, p, np.arange(3), {}, np.array([9, 12, 9]))
  few, more = found["groups"]
  assert (few["least"], few["most"], few["classes"], few["photos"]) == (1, 9, 2, 2)
  assert few["top_1"] == 0.5 and more["top_1"] == 0
  assert [row["accuracy"] for row in few["depths"]] == [1, 0.5, 0.5]
  assert [row["accuracy"] for row in more["depths"]] == [1, 1, 0]
  assert (more["least"], more["most"]) == (10, 49)
  text = hierarchical.text(found)
  assert "    1 to 9             2       2   50.00%    50.00%" in text
  full = hierarchical.measure(GRAPH, p, np.arange(3), {}, np.array([0, 1000, 5000]))
  assert [(g["least"], g["most"]) for g in full["groups"]] == [(0, 0), (1000, None)]
  assert "1,000 and more" in hierarchical.text(full)

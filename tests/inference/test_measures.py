"""Hierarchical measures, counted by hand on a graph small enough to see."""

import numpy as np
import pytest

from im21k.inference import hierarchy, measures

# root 0; plant 1, animal 2; fir 3, oak 4 (plants), cat 5 (animal)
GRAPH = hierarchy.Hierarchy(
  [f"n{i:08}" for i in range(6)], [[], [0], [0], [1], [1], [2]], [3, 4, 5]
)


def test_measures_are_those_counted_by_hand():
  p = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.5, 0.1, 0.4]], np.float32)
  found = measures.measure(GRAPH, p, [0, 1, 2], {0.5: 0.0, 1.0: 1e4})
  assert found["depths"] == [
    {"depth": 0, "photos": 3, "accuracy": 1.0},
    {"depth": 1, "photos": 3, "accuracy": 2 / 3},
    {"depth": 2, "photos": 3, "accuracy": 1 / 3},
  ]
  assert found["mistake_height"] == 1.5  # Oak as fir: 1; cat as fir: 2.
  safe = found["hedged"][1]
  assert safe == {"asked": 1.0, "accuracy": 1.0, "information": 0.0}
  # Without hedging bits · probability decides: fir 0.95; fir 0.79; fir 0.79.
  bold = found["hedged"][0]
  assert bold["accuracy"] == 1 / 3
  assert bold["information"] == pytest.approx(np.log2(3) / 3)
  assert "mistakes meet the truth 1.50 levels up" in measures.text(found)


def test_no_mistakes_have_no_height():
  found = measures.measure(GRAPH, np.eye(3, dtype=np.float32), [0, 1, 2], {})
  assert found["mistake_height"] is None and found["hedged"] == []
  assert "mistakes" not in measures.text(found)
  with pytest.raises(ValueError, match="no photos"):
    measures.measure(GRAPH, np.zeros((0, 3), np.float32), [], {})

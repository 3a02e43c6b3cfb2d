"""How wrong wrong answers are, by the hierarchy, beside top-k."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from im21k.inference import answers
from im21k.inference.hierarchy import Hierarchy


def measure(
  hierarchy: Hierarchy,
  classes: npt.NDArray[np.float32],
  labels: Sequence[int],
  trades: dict[float, float],
) -> dict[str, Any]:
  """Hierarchical measures of the probabilities `[n, classes]` of labelled photos.

  Args:
    hierarchy: of the classes.
    classes: `[n, classes]`, probabilities, calibrated for `trades`.
    labels: `[n]`, what the photos are of.
    trades: λ by asked accuracy, of `calibrate`.

  Returns:
    `depths`: for each depth `photos` whose class lies below a node of it, and
    `accuracy`: the share of these whose likeliest node of that depth is above the
    class. `mistake_height`: how many levels the lowest node above both the first
    answer and the truth is above the truth, on average over wrong first answers (None:
    there are none). `hedged`: for each asked accuracy the `accuracy` reached, and
    `information`, the mean bits of right answers (a wrong one gains none).

  Raises:
    ValueError: there are no photos.
  """
  if not len(labels):
    raise ValueError("there are no photos to measure on")
  depths = range(int(hierarchy.depth.max()) + 1)
  at_depth = [np.flatnonzero(hierarchy.depth == depth) for depth in depths]
  photos, right = np.zeros(len(depths), int), np.zeros(len(depths), int)
  heights: list[int] = []
  gained: dict[float, list[float | None]] = {accuracy: [] for accuracy in trades}
  for row, label in zip(classes, labels, strict=True):
    nodes = hierarchy.probabilities(row[None])
    above = {int(hierarchy.depth[node]) for node in hierarchy.above(label)}
    for depth in above:
      best = at_depth[depth][nodes[0, at_depth[depth]].argmax()]
      photos[depth] += 1
      right[depth] += hierarchy.is_right(int(best), label)
    first = int(row.argmax())
    if first != label:
      common = hierarchy.lowest_common(first, label)
      own = hierarchy.label_node[label]
      heights.append(int(hierarchy.depth[own] - hierarchy.depth[common]))
    for accuracy, trade in trades.items():
      ((node, _),) = answers.hedged(hierarchy, nodes, trade)
      true = hierarchy.is_right(node, label)
      gained[accuracy].append(float(hierarchy.information[node]) if true else None)
  return {
    "depths": [
      {"depth": d, "photos": int(photos[d]), "accuracy": float(right[d] / photos[d])}
      for d in depths
      if photos[d]
    ],
    "mistake_height": float(np.mean(heights)) if heights else None,
    "hedged": [
      {
        "asked": accuracy,
        "accuracy": sum(bits is not None for bits in some) / len(labels),
        "information": sum(bits or 0.0 for bits in some) / len(labels),
      }
      for accuracy, some in gained.items()
    ],
  }


def text(measured: dict[str, Any]) -> str:
  """What `measure` found, for people."""
  lines = [f"{'depth':<8}{'photos':>9}{'accuracy':>10}"]
  lines += [
    f"{row['depth']:<8}{row['photos']:>9,}{row['accuracy']:>10.2%}"
    for row in measured["depths"]
  ]
  if measured["mistake_height"] is not None:
    lines.append(f"mistakes meet the truth {measured['mistake_height']:.2f} levels up")
  lines += [
    f"hedged for {row['asked']:.0%}: {row['accuracy']:.2%} right, "
    f"{row['information']:.2f} bits"
    for row in measured["hedged"]
  ]
  return "\n".join(lines)

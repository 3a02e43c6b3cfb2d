"""Labelled probabilities -> how much to hedge: λ by asked accuracy."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from scipy import stats

from im21k.synsets.hierarchy import Hierarchy


def path(
  hierarchy: Hierarchy, nodes: Float[np.ndarray, " nodes"]
) -> list[tuple[float, int]]:
  """All answers of `rules.hedged` for one photo, as λ grows from 0.

  (information + λ) · probability is a line over λ for each node; the answers are the
  upper envelope of these lines, followed from corner to corner. It is exact, where a
  search over λ is approximate.

  Args:
    hierarchy: over the classes.
    nodes: `[nodes]`, probabilities.

  Returns:
    Pairs (least λ at which it is the answer, node), of growing probability.
  """
  p = nodes.astype(np.float64)
  height = hierarchy.information * p
  tied = np.flatnonzero(height == height.max())
  at, node = 0.0, int(tied[p[tied].argmax()])
  steps = [(at, node)]
  while (steeper := np.flatnonzero(p > p[node])).size:
    corner = (height[node] - height[steeper]) / (p[steeper] - p[node])
    at = max(at, float(corner.min()))
    tied = steeper[corner == corner.min()]
    node = int(tied[p[tied].argmax()])
    steps.append((at, node))
  return steps


def lambdas(
  hierarchy: Hierarchy,
  classes: Float[np.ndarray, "n classes"],
  labels: Int[np.ndarray, " n"],
  accuracies: Sequence[float],
  confidence: float | None = None,
) -> dict[float, float]:
  """The smallest λ that reaches each asked accuracy on held-out photos.

  The dual search of Deng et al. 2012, algorithm 1, over the exact corners of `path`.
  The λ reaches the accuracy on these photos; on others it falls a little short about
  half of the time. With `confidence` there is a margin: λ reaches the accuracy on
  photos like these with that probability at least (Angelopoulos et al. 2021, "Learn
  then Test": binomial tests in a fixed sequence, from the safest λ down to the first
  that fails).

  Args:
    hierarchy: over the classes.
    classes: `[n, classes]`, calibrated probabilities.
    labels: `[n]`, the right classes.
    accuracies: asked, each above 0 and at most 1.
    confidence: probability that the true accuracy is the asked one, below 1; None: no
      margin.

  Returns:
    λ by accuracy; 0 where the accuracy is reached without hedging further. Accuracies
    are left out where there are too few photos for such confidence.

  Raises:
    ValueError: there are no photos, or an accuracy or the confidence is out of range.
  """
  if not len(labels):
    raise ValueError("there are no held-out photos to calibrate on")
  for accuracy in accuracies:
    if not 0 < accuracy <= 1:
      raise ValueError(f"accuracy is {accuracy}, but must be above 0 and at most 1")
  if confidence is not None and not 0 < confidence < 1:
    raise ValueError(f"confidence is {confidence}, but must be between 0 and 1")
  corners, right = _right_along(hierarchy, classes, labels)
  chosen = {}
  for accuracy in accuracies:
    needed = needed_right(accuracy, len(labels), confidence)
    if needed is None:
      continue
    enough = right >= needed
    if confidence is None:
      at = int(enough.argmax()) if enough.any() else len(right) - 1
    else:
      short = np.flatnonzero(~enough)
      at = int(short[-1]) + 1 if short.size else 0
      if at == len(right):
        continue
    # Strictly inside the segment, so that rounding cannot fall back before it.
    chosen[accuracy] = float(corners[at] * (1 + 1e-6))
  return chosen


def needed_right(accuracy: float, count: int, confidence: float | None) -> int | None:
  """How many of `count` must be right to claim an accuracy; None: more than all.

  With `confidence` the least k for which Binomial(count, accuracy) is k or more with
  probability 1 − confidence at most.
  """
  if confidence is None:
    return math.ceil(accuracy * count - 1e-9)
  needed = int(stats.binom.isf(1 - confidence, count, accuracy)) + 1
  return needed if needed <= count else None


def _right_along(
  hierarchy: Hierarchy,
  classes: Float[np.ndarray, "n classes"],
  labels: Int[np.ndarray, " n"],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
  """Each λ at which the number of right answers changes, from 0 on, and that number."""
  right, changes = 0, []
  for row, label in zip(classes, labels.tolist(), strict=True):
    was = None
    for at, node in path(hierarchy, hierarchy.probabilities(row[None])[0]):
      now = hierarchy.is_right(node, label)
      if was is None:
        right += now
      elif now != was:
        changes.append((at, int(now) - int(was)))
      was = now
  changes.sort()
  corners = np.array([0.0, *(at for at, _ in changes)])
  reached = right + np.cumsum([0, *(step for _, step in changes)])
  # Past the last of equal corners: what happens at one λ happens together.
  last = np.append(np.diff(corners) > 0, True)
  return corners[last], reached[last]

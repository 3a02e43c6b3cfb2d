"""How much to hedge: the trade λ of `answers.hedged` for an asked accuracy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from im21k.inference.hierarchy import Hierarchy


def path(
  hierarchy: Hierarchy, nodes: npt.NDArray[np.float32]
) -> list[tuple[float, int]]:
  """All answers of `hedged` for one photo, as λ grows from 0.

  Lines (information + λ) · probability over λ; the answers are their upper envelope,
  walked from corner to corner: exact, where a search over λ only comes near.

  Args:
    hierarchy: of the classes.
    nodes: `[nodes]`, probabilities.

  Returns:
    (λ from which on it is the answer, node), of growing probability.
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


def trades(
  hierarchy: Hierarchy,
  classes: npt.NDArray[np.float32],
  labels: Sequence[int],
  accuracies: Sequence[float],
) -> dict[float, float]:
  """The smallest λ that reaches each asked accuracy on held-out photos.

  The dual search of Deng et al. 2012, algorithm 1, over the exact corners.

  Args:
    hierarchy: of the classes.
    classes: `[n, classes]`, calibrated probabilities.
    labels: `[n]`, what the photos are of.
    accuracies: asked, each above 0 and at most 1.

  Returns:
    λ by accuracy. 0 where the accuracy is reached without hedging further.

  Raises:
    ValueError: no photos, or an accuracy that is none.
  """
  if not len(labels):
    raise ValueError("there are no held-out photos to calibrate on")
  for accuracy in accuracies:
    if not 0 < accuracy <= 1:
      raise ValueError(f"accuracy is {accuracy}, but must be above 0 and at most 1")
  right, changes = 0, []
  for row, label in zip(classes, labels, strict=True):
    was = None
    for at, node in path(hierarchy, hierarchy.probabilities(row[None])[0]):
      now = hierarchy.is_right(node, label)
      if was is None:
        right += now
      elif now != was:
        changes.append((at, int(now) - int(was)))
      was = now
  found = {}
  changes.sort()
  # Past the last of equal corners: what happens at one λ happens together.
  corners = np.array([at for at, _ in changes])
  reached = right + np.cumsum([step for _, step in changes], dtype=int)
  last = np.flatnonzero(np.append(np.diff(corners) > 0, True)[: len(corners)])
  for accuracy in accuracies:
    needed = int(np.ceil(accuracy * len(labels) - 1e-9))
    if right >= needed:
      found[accuracy] = 0.0
      continue
    enough = last[reached[last] >= needed]
    at = enough[0] if enough.size else last[-1]
    # Strictly inside the segment, so that rounding cannot fall back before it.
    found[accuracy] = float(corners[at] * (1 + 1e-6))
  return found

"""Right and wrong answers of two runs on the same photos -> is one better?

McNemar's test looks at the photos on which exactly one of the two is right: if the runs
were equally good, each of these photos would be a toss of a coin.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from scipy import stats

_Z = 1.959963984540054  # Of 95 %.


@dataclasses.dataclass(frozen=True)
class Test:
  """What tells a run from the first one.

  Attributes:
    photos: on which both were measured.
    only_first, only_this: on which exactly one was right.
    difference: top-1 of this run minus that of the first, a share.
    low, high: its 95 % interval.
    p: of the exact test, two-sided.
  """

  photos: int
  only_first: int
  only_this: int
  difference: float
  low: float
  high: float
  p: float


def test(first: Bool[np.ndarray, " n"], this: Bool[np.ndarray, " n"]) -> Test:
  """McNemar 1947, exact: a two-sided binomial test of the photos that tell them apart.

  The interval is that of Agresti & Min 2005 ("Simple improved confidence intervals for
  comparing matched proportions"): half a photo is added to each of the four counts.

  Args:
    first, this: whether each run was right, `[n]`, the same photos in the same order.
  """
  b, c = int((first & ~this).sum()), int((this & ~first).sum())
  p = float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0
  n = len(first) + 2
  middle = (c - b) / n
  variance = (b + 0.5) + (c + 0.5) - (c - b) ** 2 / n
  half = _Z * math.sqrt(variance) / n
  difference = (c - b) / len(first)
  # The middle is drawn towards 0; what was measured stays within.
  low = max(-1.0, min(middle - half, difference))
  high = min(1.0, max(middle + half, difference))
  return Test(len(first), b, c, difference, low, high, p)


def holm(p: Sequence[float]) -> list[float]:
  """P-values corrected for their number: Holm 1979, step-down, never above 1."""
  corrected = [0.0] * len(p)
  largest = 0.0
  for rank, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
    largest = max(largest, min(1.0, (len(p) - rank) * p[at]))
    corrected[at] = largest
  return corrected

"""Labels -> which photos are held out, of every class alike, the same for one seed."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int


def share_of_each(
  labels: Int[np.ndarray, " n"], share: float, seed: int = 0
) -> Bool[np.ndarray, " n"]:
  """True for a share of each class's photos.

  Args:
    labels: of the photos.
    share: above 0 and below 1; of n photos `round(share * n)` are taken, but at least
      one where n is 2 or more, and never all.
    seed: of which ones.
  """
  return _taken(labels, seed, lambda count: max(1, round(share * count)))


def number_of_each(
  labels: Int[np.ndarray, " n"], number: int, seed: int = 0
) -> Bool[np.ndarray, " n"]:
  """True for so many photos of each class, but never for all; see `share_of_each`."""
  return _taken(labels, seed, lambda count: number)


def _taken(
  labels: Int[np.ndarray, " n"], seed: int, wanted: Callable[[int], int]
) -> Bool[np.ndarray, " n"]:
  taken = np.zeros(len(labels), bool)
  order = np.random.default_rng(seed).permutation(len(labels))
  order = order[np.argsort(labels[order], kind="stable")]  # Class by class.
  _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
  for begin, count in zip(first, counts, strict=True):
    taken[order[begin : begin + min(wanted(int(count)), count - 1)]] = True
  return taken

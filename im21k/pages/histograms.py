"""Numbers of photos and classes -> bars of histograms."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from im21k import words
from im21k.pages import ticks


@dataclasses.dataclass(frozen=True)
class Bin:
  """A bar of a histogram: what it holds, its share of the photos, and that in words."""

  name: str
  share: float
  text: str


def of_sizes(
  sides: Sequence[tuple[int, int, int]],
) -> list[tuple[str, list[Bin]]]:
  """Histograms of short sides in pixels, widths over heights, and bytes."""
  if not sides:
    return []
  height, width, size = np.array(sides, np.float64).T
  short, ratio = np.minimum(height, width), width / height
  return [
    ("Short side, pixels", bins(short, [64, 128, 192, 256, 320, 400, 512, 768, 1024])),
    (
      "Width over height",
      bins(ratio, [0.5, 0.7, 0.9, 1.1, 1.3, 1.45, 1.6, 2.0]),
    ),
    (
      "Size of the JPEG",
      bins(size, [2_000 * 2**power for power in range(10)], shown_bytes),
    ),
  ]


def bins(values: Any, edges: list[float], text: Any = None) -> list[Bin]:
  """Shares of values below the first edge, between two, and from the last one on."""
  text = text or (lambda edge: f"{edge:g}")
  place = np.searchsorted(edges, values, side="right")
  counts = np.bincount(place, minlength=len(edges) + 1)
  names = [f"below {text(edges[0])}"]
  names += [f"{text(a)} to {text(b)}" for a, b in itertools.pairwise(edges)]
  names.append(f"{text(edges[-1])} and more")
  used = np.flatnonzero(counts)
  return [
    Bin(names[at], counts[at] / len(values), f"{100 * counts[at] / len(values):.3g} %")
    for at in range(used[0], used[-1] + 1)
  ]


def shown_bytes(size: float) -> str:
  """Bytes with a unit: 19.8 kB."""
  text = ticks.compact(size)
  digits = text.rstrip("kMGT")
  return f"{digits} {text[len(digits) :]}B"


def classes_by_size(train: Sequence[int], listed: int) -> list[Bin]:
  """How many of so many listed classes have how many training photos.

  Args:
    train: training photos of the classes that have any photos.
    listed: number of classes in the list.
  """
  edges = [1, 10, 50, 100, 300, 500, 1_000, 1_300]
  names = ["none", "1 to 9", "10 to 49", "50 to 99", "100 to 299", "300 to 499"]
  names += ["500 to 999", "1,000 to 1,299", "1,300 and more"]
  counts = np.bincount(
    np.searchsorted(edges, train, side="right"), minlength=len(edges) + 1
  )
  counts[0] += max(0, listed - len(train))
  total = max(1, int(counts.sum()))
  return [
    Bin(name, int(n) / total, words.counted(int(n), "class"))
    for name, n in zip(names, counts, strict=True)
    if n
  ]

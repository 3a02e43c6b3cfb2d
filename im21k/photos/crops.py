"""Which part of a photo becomes an example.

Each crop is a small frozen dataclass. Random crops draw from a generator derived from
the seed and the example's position, so any example can be made again.
"""

import dataclasses
import math
from typing import Protocol

import numpy as np

from im21k.photos import images
from im21k.photos.jpeg_crop import Box


class Rng(Protocol):
  """What crops ask of numpy's Generator, or of what stands in for it."""

  def uniform(self, low: float, high: float) -> float:
    """A number in [low, high)."""

  def integers(self, high: int) -> int:
    """A number in [0, high)."""


@dataclasses.dataclass(frozen=True)
class StraightCrop:
  """The original's crop: a random square of the photo at its usual scale.

  The photo is thought of with a short side of `short_side`, of which a square of
  `size` is cut: 224 of 256 in the original recipe.
  """

  size: int
  short_side: int

  def __post_init__(self) -> None:
    check(self.size, self.short_side)

  def draw(self, height: int, width: int, rng: Rng) -> Box:
    """The part of a photo of this size."""
    side = _crop_side(height, width, self.size, self.short_side)
    top = int(rng.integers(height - side + 1))
    return Box(top, int(rng.integers(width - side + 1)), side, side)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
  """The Inception crop (Szegedy et al. 2014), drawn as torchvision draws it.

  A random share of the area in `scale`, of a random aspect ratio in `ratio`
  (log-uniform), at a random place; after ten misses the largest centred crop of an
  allowed ratio.
  """

  size: int
  scale: tuple[float, float] = (0.08, 1.0)
  ratio: tuple[float, float] = (3 / 4, 4 / 3)

  def __post_init__(self) -> None:
    check(self.size, self.size)

  def draw(self, height: int, width: int, rng: Rng) -> Box:
    """The part of a photo of this size."""
    low, high = (math.log(r) for r in self.ratio)
    for _ in range(10):
      area = height * width * rng.uniform(*self.scale)
      ratio = math.exp(rng.uniform(low, high))
      w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
      if 0 < w <= width and 0 < h <= height:
        top = int(rng.integers(height - h + 1))
        return Box(top, int(rng.integers(width - w + 1)), h, w)
    h = min(height, round(width / self.ratio[0]))
    w = min(width, round(height * self.ratio[1]))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def center_crop(image: np.ndarray, size: int, short_side: int) -> np.ndarray:
  """`[h, w, 3]` uint8 -> `[size, size, 3]`: see `CenterCrop`."""
  height, width = image.shape[:2]
  side = _crop_side(height, width, size, short_side)
  top, left = (height - side) // 2, (width - side) // 2
  return images.resize(image[top : top + side, left : left + side], size, size)


def usual_short_side(size: int) -> int:
  """Short side of the photo of which `size` is cut: 256 for 224, in proportion."""
  return round(size * 256 / 224)


def _crop_side(height: int, width: int, size: int, short_side: int) -> int:
  """Side in the photo's own pixels: cut first and resize once."""
  check(size, short_side)
  return max(1, round(min(height, width) * size / short_side))


def check(size: int, short_side: int) -> None:
  """ValueError unless a crop of `size` fits a photo with this short side."""
  if size < 1:
    raise ValueError(f"a crop has a side of at least 1 pixel, not {size}")
  if size > short_side:
    raise ValueError(
      f"a crop of {size} needs a photo with a short side of as much, not {short_side}"
    )

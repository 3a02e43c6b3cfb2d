"""Which part of a photo becomes an example.

In: a photo's height and width. Out: a box in its pixels. Each crop is a small frozen
dataclass. Random crops draw from a generator derived from the seed and the example's
position, so any example can be made again.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8

from im21k.photos.jpeg_crop import Box

USUAL_AREA = (0.08, 1.0)  # Of the Inception crop, as Szegedy et al. have it.


@runtime_checkable
class Rng(Protocol):
  """The methods of numpy's Generator that crops use."""

  def uniform(self, low: float, high: float) -> float:
    """A number in [low, high)."""

  def integers(self, high: int) -> int:
    """A number in [0, high)."""


@dataclasses.dataclass(frozen=True)
class StraightCrop:
  """The original's crop: a random square of the photo at its usual scale.

  It is the square of `size` from the photo downscaled to `short_side`, in the photo's
  own pixels: 224 of 256 in the original recipe.
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
  """The Inception crop (Szegedy et al. 2014), as torchvision draws it.

  A random share of the area in `scale`, of a random aspect ratio in `ratio`
  (log-uniform), at a random place; after ten that do not fit, the largest centred crop
  of an allowed ratio.
  """

  size: int
  scale: tuple[float, float] = USUAL_AREA
  ratio: tuple[float, float] = (3 / 4, 4 / 3)

  def __post_init__(self) -> None:
    check(self.size, self.size)
    check_area(self.scale)

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


def center_crop(
  image: UInt8[np.ndarray, "h w 3"], size: int, short_side: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
  """The square of `size` in the middle of a photo whose short side is `short_side`.

  The photo is cut in its own pixels first, then resized once.

  Raises:
    ValueError: `size` is below 1, or above `short_side`.
  """
  height, width = image.shape[:2]
  side = _crop_side(height, width, size, short_side)
  top, left = (height - side) // 2, (width - side) // 2
  return resize(image[top : top + side, left : left + side], size, size)


def resize(
  image: UInt8[np.ndarray, "h w *c"], height: int, width: int
) -> UInt8[np.ndarray, "new_h new_w *d"]:
  """Resizes `[h, w, 3]` uint8: mean over areas to shrink, bilinear to enlarge."""
  if image.shape[:2] == (height, width):
    return image
  shrinks = height * width < image.shape[0] * image.shape[1]
  how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
  return cv2.resize(image, (width, height), interpolation=how)


def usual_short_side(size: int) -> int:
  """Short side of the photo of which `size` is cut: 256 for 224, in proportion."""
  return round(size * 256 / 224)


def _crop_side(height: int, width: int, size: int, short_side: int) -> int:
  """Side in the photo's own pixels: cut first and resize once."""
  check(size, short_side)
  return max(1, round(min(height, width) * size / short_side))


def check_area(area: Sequence[float]) -> None:
  """ValueError unless these are the least and the largest share of a photo's area."""
  if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
    shares = ", ".join(f"{share:g}" for share in area)
    raise ValueError(
      f"area is {shares or 'empty'}, but must be two shares of the photo, the smaller "
      "first, above 0 and at most 1: 0.25, 1 for example"
    )


def check(size: int, short_side: int) -> None:
  """ValueError unless a crop of `size` fits a photo with this short side."""
  if size < 1:
    raise ValueError(f"a crop has a side of at least 1 pixel, not {size}")
  if size > short_side:
    raise ValueError(
      f"a crop of {size} needs a photo with a short side of as much, not {short_side}"
    )

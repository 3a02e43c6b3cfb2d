"""Photos of any kind -> what a model takes: the crop and the normalisation.

In: paths of image files, PIL pictures, arrays. Out: uint8 batches (`prepare`), and
float32 arrays for the network (`normalize`).
"""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image

from im21k.photos import crops, images

LARGEST_SIDE = 4_096  # Pixels; the batch of one photo has 50 MB.
_LARGEST_PIXEL = 1e6  # Beyond it float32 has no precision left for what it is added to.
Photo = str | os.PathLike[str] | Image.Image | np.ndarray | jax.Array


@dataclasses.dataclass(frozen=True)
class Input:
  """How a photo becomes the model's input.

  Attributes:
    size: side of the square that the model sees, pixels.
    short_side: short side to which the photo is scaled before the square is cut.
    mean, std: subtracted from the pixels, then the divisor; on the scale 0–255, one
      number or one for each of R, G and B.

  Raises:
    ValueError: the square does not fit the photo, a side is above 4,096, or mean or
      std are not numbers that can be computed with.
  """

  size: int
  short_side: int
  mean: float | tuple[float, ...] = 117.0
  std: float | tuple[float, ...] = 1.0

  def __post_init__(self) -> None:
    if not 0 < self.size <= self.short_side:
      raise ValueError(
        f"a crop of {self.size} needs a short side of as much, not {self.short_side}"
      )
    if self.short_side > LARGEST_SIDE:
      raise ValueError(
        f"a short side of {self.short_side} pixels is above {LARGEST_SIDE:,}"
      )
    for name, least in (("mean", -_LARGEST_PIXEL), ("std", 1 / _LARGEST_PIXEL)):
      value = getattr(self, name)
      values = value if isinstance(value, tuple) else (value,)
      if len(values) not in (1, 3):
        raise ValueError(f"{name} has {len(values)} numbers, but must have 1 or 3")
      if not all(least <= one <= _LARGEST_PIXEL for one in values):
        raise ValueError(
          f"{name} is {value}, but must be {least:g} to {_LARGEST_PIXEL:g}"
        )

  def prepare(
    self, photos: Photo | Iterable[Photo]
  ) -> UInt8[np.ndarray, "b {self.size} {self.size} 3"]:
    """Cuts the centre square of each photo; only one photo at a time is held whole.

    Args:
      photos: paths of image files, PIL pictures, and uint8 arrays `[h, w, 3]` in RGB,
        in any mixture; or one of them. Files and pictures are turned upright and
        converted to RGB.

    Returns:
      uint8 `[b, size, size, 3]`, RGB.

    Raises:
      FileNotFoundError: a file does not exist.
      ValueError: a file is not an image, an array has another shape or type, or there
        are no photos.
    """
    several: Any = photos
    single = isinstance(photos, str | os.PathLike | Image.Image)
    if single or getattr(photos, "ndim", 4) < 4:  # Several in one array have 4 axes.
      several = [photos]
    squares = [
      crops.center_crop(_pixels(photo, index), self.size, self.short_side)
      for index, photo in enumerate(several)
    ]
    if not squares:
      raise ValueError("photos is empty: at least one photo is needed")
    return np.stack(squares)

  def normalize(
    self, pixels: Shaped[jax.Array | np.ndarray, "*b h w 3"]
  ) -> Float32[jax.Array, "*b h w 3"]:
    """RGB on the scale 0–255 -> (pixels − mean) / std, what the network takes."""
    return normalize(pixels, self.mean, self.std)


def normalize(
  image: Shaped[jax.Array | np.ndarray, "*b c"], mean: Any, std: Any
) -> Float32[jax.Array, "*b c"]:
  """`[…, c]` -> float32: (image − mean) / std, numbers or one for each channel."""
  shape = (1,) * (image.ndim - 1) + (-1,)
  mean, std = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (mean, std))
  pixels = jnp.asarray(image).astype(jnp.float32)
  normal: jax.Array = (pixels - mean) / std
  return normal


def _pixels(photo: Any, index: int) -> npt.NDArray[np.uint8]:
  """A photo as upright RGB, uint8 `[h, w, 3]`; `index` names it in errors."""
  if isinstance(photo, str | os.PathLike):
    return images.read(Path(photo))
  if isinstance(photo, Image.Image):
    return images.of_picture(photo)
  array = np.asarray(photo)
  if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
    raise ValueError(
      f"photo {index} is {array.dtype} {list(array.shape)}, but an array must be uint8 "
      "[h, w, 3] in RGB; PIL.Image.fromarray converts grey and transparent ones"
    )
  if not array.size:
    raise ValueError(f"photo {index} has no pixels: its shape is {list(array.shape)}")
  return array

"""Photos -> what an exported program takes; with PIL and numpy alone.

This file is copied beside exported programs, and into their `model.py`. It gives what
`im21k` itself prepares, but for a rounding of one level of 255 in few pixels.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps


@functools.cache
def description() -> dict[str, Any]:
  """`im21k.json`, beside this file: input, outputs, classes and nodes of answers."""
  text = Path(__file__).with_name("im21k.json").read_text(encoding="utf-8")
  document: dict[str, Any] = json.loads(text)
  return document


def classes() -> list[str]:
  """The name of each class, in the order of the logits."""
  names: list[str] = description()["classes"]["names"]
  return names


def prepare(photos: Any) -> npt.NDArray[np.uint8]:
  """Image files, PIL pictures or uint8 arrays `[h, w, 3]` -> uint8 `[b, h, w, 3]`."""
  taken = description()["input"]
  size, short_side = taken["size"], taken["short_side"]
  return np.stack([_square(_pixels(photo), size, short_side) for photo in photos])


def _pixels(photo: Any) -> npt.NDArray[np.uint8]:
  """Upright RGB."""
  if not isinstance(photo, np.ndarray):
    picture = photo if isinstance(photo, Image.Image) else Image.open(photo)
    photo = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
  if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[-1] != 3:
    raise ValueError("a photo must be a file, a PIL picture or uint8 [h, w, 3]")
  pixels: npt.NDArray[np.uint8] = photo
  return pixels


def _square(
  pixels: npt.NDArray[np.uint8], size: int, short_side: int
) -> npt.NDArray[np.uint8]:
  """The square in the middle, at its new size."""
  height, width, _ = pixels.shape
  side = max(1, round(min(height, width) * size / short_side))
  top, left = (height - side) // 2, (width - side) // 2
  square = pixels[top : top + side, left : left + side]
  if side == size:
    return square
  weights = _shares(side, size) if side > size else _between(side, size)
  rows = np.tensordot(weights, square.astype(np.float32), (1, 0))
  resized = np.tensordot(weights, rows, (1, 1)).transpose(1, 0, 2)
  return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def _shares(side: int, size: int) -> npt.NDArray[np.float32]:
  """`[size, side]`: how much of each new pixel is of each old one."""
  edges = np.arange(size + 1) * side / size
  old = np.arange(side)
  upper = np.minimum(edges[1:, None], old + 1)
  share = np.clip(upper - np.maximum(edges[:-1, None], old), 0, None) * size / side
  weights: npt.NDArray[np.float32] = share.astype(np.float32)
  return weights


def _between(side: int, size: int) -> npt.NDArray[np.float32]:
  """`[size, side]`: each new pixel lies between the centres of two old ones."""
  at = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
  share = np.clip(1 - np.abs(at[:, None] - np.arange(side)), 0, None)
  weights: npt.NDArray[np.float32] = share.astype(np.float32)
  return weights

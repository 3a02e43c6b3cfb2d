"""What the options of a verb name -> labelled photos, and devices."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import UInt8

from im21k import parallel, weights
from im21k.dataset import manifest
from im21k.loading import scoring
from im21k.photos import crops, images

Split = Literal["eval", "train"]


def open_photos(
  where: Path, split: Split, labels: Path | None = None
) -> Sequence[scoring.Photo]:
  """The labelled photos that a user names; the same for every verb that measures.

  Args:
    where: as the parameter `data` of the verbs.
    split: of packed photos.
    labels: of ILSVRC2012's validation photos.

  Raises:
    FileNotFoundError, ValueError: there are no such photos, or no labels for them.
  """
  return scoring.find(where, split, labels)


def open_shuffled(
  where: Path, split: Split, labels: Path | None = None
) -> Sequence[scoring.Photo]:
  """As `open_photos`, in an order of which the first few are a fair sample.

  Packed photos keep their order, for packing has shuffled them; others come class by
  class, and are shuffled here, the same way each time.
  """
  photos = open_photos(where, split, labels)
  return photos if is_packed(where) else _Shuffled(photos)


def is_packed(where: Path) -> bool:
  """Whether `im21k pack` wrote this folder."""
  return (where / manifest.MANIFEST).is_file()


class _Shuffled(Sequence[scoring.Photo]):
  """Photos in a random order that is always the same."""

  def __init__(self, photos: Sequence[scoring.Photo]):
    self._photos = photos
    self._order = np.random.default_rng(0).permutation(len(photos))

  def __len__(self) -> int:
    return len(self._photos)

  def __getitem__(self, index: Any) -> Any:
    return self._photos[int(self._order[index])]


def square(photo: scoring.Photo, prepared: weights.Input) -> UInt8[np.ndarray, "h w 3"]:
  """The centre crop of a photo that is scored, uint8 RGB `[size, size, 3]`."""
  pixels = images.decode_jpeg(photo.read())
  return crops.center_crop(pixels, prepared.size, prepared.short_side)


def devices_for(count: int | None) -> list[jax.Device]:
  """So many devices; None: all GPUs, or one CPU device.

  Raises:
    ValueError: the machine has fewer, or count is below 1.
  """
  if count is None:
    return parallel.devices(parallel.available())
  if count < 1:
    raise ValueError(f"devices is {count}, but must be at least 1")
  # Once JAX runs, its devices cannot be changed.
  with contextlib.suppress(RuntimeError):
    parallel.set_up(count)
  return parallel.devices(count)

"""What the options of a command name -> labelled photos, and devices."""

import contextlib
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import UInt8

from im21k import parallel, photos, synsets, weights
from im21k.dataset import manifest
from im21k.photos import Photo, Source, crops, images

Split = Literal["eval", "train"]


def open_photos(
  where: Path,
  split: Split,
  labels: Path | None = None,
  classes: synsets.ClassList | None = None,
) -> Source:
  """The labelled photos that a user names; the same for every command that measures.

  Args:
    where: as the parameter `data` of the commands.
    split: of packed photos.
    labels: of ILSVRC2012's validation photos.
    classes: what the numbers in a .rec or .lst index.

  Raises:
    FileNotFoundError, ValueError: there are no such photos, or no labels for them.
  """
  return photos.open(where, split=split, labels=labels, classes=classes)


def open_shuffled(
  where: Path,
  split: Split,
  labels: Path | None = None,
  classes: synsets.ClassList | None = None,
) -> Source:
  """As `open_photos`, in an order of which the first few are a fair sample.

  Packed photos keep their order, for packing has shuffled them; others come class by
  class, and are shuffled here, the same way each time.
  """
  return open_photos(where, split, labels, classes).shuffled()


def is_packed(where: Path) -> bool:
  """Whether `im21k pack` wrote this folder."""
  return (where / manifest.MANIFEST).is_file()


def square(photo: Photo, prepared: weights.Input) -> UInt8[np.ndarray, "h w 3"]:
  """The centre crop of a photo that is scored, uint8 RGB `[size, size, 3]`."""
  pixels = images.decode(photo.data)
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

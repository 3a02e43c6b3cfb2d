"""What the options of a command name -> labelled photos, and devices."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import UInt8

from im21k import documents, parallel, photos, synsets, weights, words, xla
from im21k.dataset import manifest
from im21k.photos import Photo, Source, crops, downloads, folders, images, tfds

Split = Literal["eval", "train"]
_MOST_DEVICES = 256
_MOST_BYTES = 1 << 32  # Of the images of a batch.


def open_photos(
  where: Path,
  split: Split | None,
  labels: Path | None = None,
  classes: synsets.ClassList | None = None,
) -> Source:
  """The labelled photos that a user names; the same for every command that measures.

  Args:
    where: as the parameter `data` of the commands.
    split: of packed photos; None where there are no splits, see `split_for`.
    labels: of ILSVRC2012's validation photos.
    classes: what the numbers in a .rec or .lst index.

  Raises:
    FileNotFoundError, ValueError: there are no such photos, or no labels for them.
  """
  source = photos.open(where, split=split, labels=labels, classes=classes)
  named = [s.synset for s in source.streams if isinstance(s, folders.ClassFolder)]
  strange = not any(map(synsets.is_synset, named))
  if classes and named and strange and not set(named) & set(classes.synsets):
    shown = ", ".join(map(repr, named[:3])) + (", …" if len(named) > 3 else "")
    raise ValueError(
      f"{where}: none of its folders ({shown}) is named by a class of the weights' "
      f"list {classes.name!r}, such as {classes.synsets[0]!r}: rename them"
    )
  return source


def open_shuffled(
  where: Path,
  split: Split | None,
  labels: Path | None = None,
  classes: synsets.ClassList | None = None,
) -> Source:
  """As `open_photos`, in an order of which the first few are a fair sample.

  Packed photos keep their order, for packing has shuffled them; others come class by
  class, and are shuffled here, the same way each time.
  """
  return open_photos(where, split, labels, classes).shuffled()


def split_for(where: Path, asked: Split | None, usual: Split) -> Split | None:
  """The split of photos that have splits; None for all others.

  Where packed or prepared photos have but one, it is taken, and said.

  Raises:
    ValueError: a split is asked for of photos that have none, or packed photos have no
      such split.
  """
  if is_packed(where):
    packed = manifest.Manifest.load(where)
    chosen = asked or only_split(packed_splits(packed), usual)
    if chosen not in packed.splits:
      packed.shard_paths(where, chosen)  # Raises, saying which there are.
  elif (where / tfds.INFO).is_file():
    chosen = asked or only_split(_prepared_splits(where), usual)
  elif layout := downloads.find(where):
    there = [name for name in ("train", "eval") if getattr(layout, name)]
    chosen = asked or only_split(there, usual)
  elif asked:
    raise ValueError(
      f"split is for photos that im21k pack or TFDS has divided, which {where} is not: "
      "leave split out"
    )
  else:
    return None
  if chosen != (asked or usual):
    _note(f"{where} has no split {usual}: its only one, {chosen}, is used")
  return chosen


def only_split(there: Sequence[str], usual: Split) -> Split:
  """The usual split, or the only one of those that there are."""
  match there:
    case ["train"]:
      return "train"
    case ["eval"] | ["validation"]:  # As TFDS calls it.
      return "eval"
  return usual


def packed_splits(packed: manifest.Manifest) -> list[str]:
  """Names of the splits that have photos."""
  return [name for name in packed.splits if packed.count(name)]


def _prepared_splits(where: Path) -> list[str]:
  """Names of the splits that TFDS has prepared; none where that cannot be read."""
  try:
    splits = documents.read(where / tfds.INFO)["splits"]
    return [str(split["name"]) for split in splits]
  except (OSError, ValueError, TypeError, KeyError):
    return []  # TFDS will say what is wrong.


def check_batch(batch_size: int, size: int) -> None:
  """ValueError if a batch of images of `size` pixels is more than memory holds."""
  most = _MOST_BYTES // (3 * size**2)
  if not 1 <= batch_size <= most:
    raise ValueError(
      f"batch_size is {batch_size}, but must be from 1 to {most} with images of {size} "
      "pixels"
    )


def is_packed(where: Path) -> bool:
  """Whether `im21k pack` wrote this folder."""
  return (where / manifest.MANIFEST).is_file()


def square(photo: Photo, prepared: weights.Input) -> UInt8[np.ndarray, "h w 3"]:
  """The centre crop of a photo that is scored, uint8 RGB `[size, size, 3]`."""
  pixels = images.decode(photo.data)
  return crops.center_crop(pixels, prepared.size, prepared.short_side)


def _note(line: str) -> None:
  """Writes a line to standard error, if somebody still reads it."""
  with contextlib.suppress(OSError):
    print(f"im21k: {words.visible(line)}", file=sys.stderr, flush=True)


def devices_for(count: int | None) -> list[jax.Device]:
  """So many devices; None: all GPUs, or one CPU device.

  Raises:
    ValueError: the machine has fewer, or count is below 1.
  """
  if count is None:
    return parallel.devices()
  if count < 1:
    raise ValueError(f"devices is {count}, but must be at least 1")
  if count > _MOST_DEVICES:
    raise ValueError(f"devices is {count}, but must be at most {_MOST_DEVICES}")
  # Once JAX runs, its devices cannot be changed.
  with contextlib.suppress(RuntimeError):
    xla.set_up(count)
  return parallel.devices(count)

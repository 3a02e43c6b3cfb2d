"""Shards -> batches `{"image", "label"}` laid out for the devices.

Images are uint8 RGB `[devices, batch / devices, size, size, 3]`, labels int32
`[devices, batch / devices]`; normalisation happens on the device.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np

from im21k.data import augment
from im21k.data.records import Manifest
from im21k.synsets import ClassList

CROPS = ("straight", "inception")


class _Packed:
  """What both loaders share: a split's records, checked, and the batches' layout."""

  def __init__(
    self,
    folder: Path,
    split: str,
    batch_size: int,
    devices: int,
    classes: ClassList | None,
    threads: int | None,
  ):
    if devices < 1:
      raise ValueError(f"devices is {devices}, but must be at least 1")
    if batch_size < 1 or batch_size % devices:
      raise ValueError(
        f"batch_size {batch_size} is not divisible by the {devices} devices: "
        f"take {max(1, batch_size // devices) * devices}, say"
      )
    self.manifest = Manifest.load(folder)
    self.classes = self.manifest.classes(folder)
    if classes is not None:
      classes.check_same(self.classes.name, self.classes.hash, f"photos in {folder}")
    self.count = self.manifest.count(split) if split in self.manifest.splits else 0
    paths = self.manifest.shard_paths(folder, split)
    self._records = grain.sources.ArrayRecordDataSource(paths)
    self._batch_size, self._devices = batch_size, devices
    # Decoding and resizing release the GIL; two a core keep reads in flight too.
    threads = threads or 2 * (os.cpu_count() or 1)
    self._reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)

  def _lay_out(self, batch: dict) -> dict:
    per_device = self._batch_size // self._devices
    return {
      key: value.reshape(self._devices, per_device, *value.shape[1:])
      for key, value in batch.items()
    }


class TrainLoader(_Packed):
  """An endless stream of augmented training examples, reshuffled every epoch.

  `loader[i]` is the i-th example of the stream, made without workers, whatever was
  read before; `iter_from(n)` gives batches that begin with example n. So the position
  `n` is all there is to save, and the batch size may change between runs.
  """

  def __init__(
    self,
    folder: Path,
    *,
    batch_size: int,
    devices: int = 1,
    image_size: int = 224,
    short_side: int | None = None,
    crop: str = "straight",
    mirror: bool = True,
    seed: int = 0,
    classes: ClassList | None = None,
    threads: int | None = None,
  ):
    """Opens the `train` split of a packed data set.

    Args:
      folder: where `im21k pack` wrote.
      batch_size: examples a step, over all devices.
      devices: leading axis of a batch.
      image_size: side of the crop.
      short_side: of the photo that a straight crop is cut from; by default
        image_size · 256 / 224.
      crop: `straight`, as the original, or `inception`: random area and aspect.
      mirror: whether every second photo is mirrored.
      seed: of order and augmentation.
      classes: the class list that labels must index; None takes the folder's.
      threads: for reading and decoding; by default two a core.

    Raises:
      ValueError: an argument is wrong, a shard is missing or cut short, or the class
        list is another one.
      FileNotFoundError: nothing is packed there.
    """
    if crop not in CROPS:
      raise ValueError(f"crop is {crop!r}, but must be one of {', '.join(CROPS)}")
    super().__init__(folder, "train", batch_size, devices, classes, threads)
    short_side = short_side or augment.usual_short_side(image_size)
    examples = grain.MapDataset.source(self._records).seed(seed).shuffle().repeat()
    examples = examples.map(augment.Decode())
    if crop == "straight":
      examples = examples.random_map(augment.StraightCrop(image_size, short_side))
    else:
      examples = examples.random_map(augment.RandomResizedCrop(image_size))
    self._examples = examples.random_map(augment.Mirror()) if mirror else examples

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Example `index` of the stream: `image` [h, w, 3] uint8, `label`, `key`."""
    return self._examples[index]

  def iter_from(self, example: int) -> "TrainIterator":
    """Batches from the example with this index on."""
    return TrainIterator(self, example)


class TrainIterator(Iterator[dict[str, np.ndarray]]):
  """Batches of a TrainLoader; `position` is the next batch's first example."""

  def __init__(self, loader: TrainLoader, position: int):
    self.position = position
    self._step = loader._batch_size
    batches = (
      loader._examples[position:]
      .map(_without_key)
      .batch(loader._batch_size, drop_remainder=True)
      .map(loader._lay_out)
    )
    self._batches = iter(batches.to_iter_dataset(loader._reading))

  def __next__(self) -> dict[str, np.ndarray]:
    batch = next(self._batches)
    self.position += self._step
    return batch


class EvalLoader(_Packed):
  """Every example of a split exactly once, in order, with the centre crop.

  The last batch is filled up with black images of `mask` 0; `mask` is float32
  `[devices, batch / devices]`, 1 for examples that count.
  """

  def __init__(
    self,
    folder: Path,
    split: str = "eval",
    *,
    batch_size: int,
    devices: int = 1,
    image_size: int = 224,
    short_side: int | None = None,
    classes: ClassList | None = None,
    threads: int | None = None,
  ):
    """Opens a split; see `TrainLoader` for arguments and errors."""
    super().__init__(folder, split, batch_size, devices, classes, threads)
    short_side = short_side or augment.usual_short_side(image_size)
    self._examples = (
      grain.MapDataset.source(self._records)
      .map(augment.Decode())
      .map(augment.CenterCrop(image_size, short_side))
    )

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Example `index` of the split: `image` [h, w, 3] uint8, `label`, `key`."""
    if not 0 <= index < self.count:
      raise IndexError(f"example {index} of {self.count:,}")
    return self._examples[index]

  def __len__(self) -> int:
    """Batches in a pass."""
    return -(-self.count // self._batch_size)

  def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
    batches = (
      self._examples.map(_without_key)
      .batch(self._batch_size)
      .map(self._fill_up)
      .map(self._lay_out)
    )
    return iter(batches.to_iter_dataset(self._reading))

  def _fill_up(self, batch: dict) -> dict:
    missing = self._batch_size - len(batch["label"])
    mask = np.ones(len(batch["label"]), np.float32)
    return {
      key: np.pad(value, [(0, missing)] + [(0, 0)] * (value.ndim - 1))
      for key, value in {**batch, "mask": mask}.items()
    }


def _without_key(example: dict) -> dict:
  return {"image": example["image"], "label": example["label"]}

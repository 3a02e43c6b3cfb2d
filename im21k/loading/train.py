"""Shards -> batches `{"image", "label"}` laid out for the devices.

Images are uint8 RGB `[devices, batch / devices, size, size, 3]`, labels int32
`[devices, batch / devices]`; normalisation happens on the device.
"""

import ctypes
import dataclasses
import functools
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags

from im21k import machine
from im21k.dataset.records import Manifest
from im21k.loading.examples import GOOD, Examples, Laps
from im21k.loading.order import ORDERS, Blockwise, Global
from im21k.photos import crops, images
from im21k.synsets import ClassList

CROPS = ("straight", "inception")
_ENDLESS = 2**40


class TrainLoader:
  """An endless stream of augmented training examples, reshuffled every epoch.

  `loader[i]` is the i-th example of the stream, made without workers, whatever was
  read before; `iter_from(n)` gives batches that begin with example n. So the position
  `n` is all there is to save, and the batch size, the workers, the devices and the
  hosts may change between runs.

  Parts of photos are resampled bilinearly, from the smallest of the scales 1, 1/2, 1/4
  and 1/8 that is no smaller than the result.
  """

  def __init__(
    self,
    folder: Path | str,
    *,
    batch_size: int,
    devices: int = 1,
    image_size: int = 224,
    short_side: int | None = None,
    crop: str = "straight",
    mirror: bool = True,
    order: str = "blockwise",
    seed: int = 0,
    max_bad_share: float = 0.001,
    classes: ClassList | None = None,
    threads: int | None = None,
    workers: int | None = None,
    host: int = 0,
    hosts: int = 1,
  ):
    """Opens the `train` split of a packed data set.

    Args:
      folder: where `im21k pack` wrote.
      batch_size: examples a step, over all devices of all hosts.
      devices: leading axis of a batch: those of this host.
      image_size: side of the crop.
      short_side: of the photo that a straight crop is cut from; by default
        image_size · 256 / 224.
      crop: `straight`, as the original, or `inception`: random area and aspect.
      mirror: whether every second photo is mirrored.
      order: `blockwise`, which reads shards like a tape, or `global`.
      seed: of order and augmentation.
      max_bad_share: of the photos, may prove unusable before the stream stops; each is
        replaced by the one behind it.
      classes: the class list that labels must index; None takes the folder's.
      threads: that make batches, in each worker; by default one a core, 8 at most.
      workers: processes; 0 makes batches in threads of this one. By default 0 on 8
        cores or less, else one for 8 cores.
      host, hosts: of several hosts that share each batch, this is which.

    Raises:
      ValueError: an argument is wrong, a shard is missing or cut short, or the class
        list is another one.
      FileNotFoundError: nothing is packed there.
    """
    for name, value, known in (("crop", crop, CROPS), ("order", order, ORDERS)):
      if value not in known:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(known)}")
    if not 0 <= host < hosts:
      raise ValueError(f"host is {host}, but must be one of 0 to {hosts - 1}")
    if batch_size % hosts:
      raise ValueError(f"batch_size {batch_size} is not divisible by {hosts} hosts")
    if devices < 1:
      raise ValueError(f"devices is {devices}, but must be at least 1")
    self._step, self._host = batch_size, host
    self._batch_size, self._devices = batch_size // hosts, devices
    check_batch_size(self._batch_size, devices)
    folder = Path(folder)
    self.manifest = Manifest.load(folder)
    self.classes = self.manifest.classes(folder)
    if classes is not None:
      classes.check_same(self.classes.name, self.classes.hash, f"photos in {folder}")
    self.manifest.shard_paths(folder, "train")  # Refuses missing and short shards.
    self.count = self.manifest.count("train")
    self._size = image_size
    self._max_bad = int(max_bad_share * self.count)
    short_side = short_side or crops.usual_short_side(image_size)
    shards = [shard for shard in self.manifest.splits["train"] if shard.count]
    self._examples = Examples(
      [str(folder / shard.name) for shard in shards],
      Global(self.count, seed)
      if order == "global"
      else Blockwise([s.count for s in shards], [s.bytes for s in shards], seed),
      crops.StraightCrop(image_size, short_side)
      if crop == "straight"
      else crops.RandomResizedCrop(image_size),
      mirror,
      seed,
    )
    cores = machine.cores()
    self.workers = (0 if cores <= 8 else cores // 8) if workers is None else workers
    self.threads = threads or min(8, cores)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Example `index` of the stream: `image` [h, w, 3] uint8, `label`, `key`."""
    image = np.empty((self._size, self._size, 3), np.uint8)
    made = self._examples.make(index, self._examples.draws(index, 1)[0], image)
    return {"image": image, "label": np.int32(made.label), "key": made.key}

  def iter_from(self, example: int, place: Any = None) -> "TrainIterator":
    """Batches from the example with this index on.

    Args:
      example: of the whole stream, the first of a batch over all hosts.
      place: a JAX sharding, to which batches are brought ahead of time; None leaves
        them in this process's memory.
    """
    return TrainIterator(self, example, place)

  def batch(self, first: int, laps: Laps | None = None) -> dict[str, np.ndarray]:
    """This host's part of the batch that begins with example `first`.

    `image` and `label`, and `bad`: int32, the record that an example replaces, or -1.
    """
    first += self._host * self._batch_size
    shape = self._batch_size, self._size, self._size, 3
    image = np.empty(shape, np.uint8)
    self._examples.prepare(first, first + self._batch_size - 1)
    if laps:
      laps.start()
    made = [
      self._examples.make(first + i, draws, image[i], laps)
      for i, draws in enumerate(self._examples.draws(first, self._batch_size))
    ]
    label = np.array([example.label for example in made], np.int32)
    bad = np.array([example.bad for example in made], np.int32)
    return {
      name: array.reshape(self._devices, -1, *array.shape[1:])
      for name, array in {"image": image, "label": label, "bad": bad}.items()
    }

  def check_bad(self, bad: Collection[int]) -> None:
    """Raises ImageError if more records than allowed are unusable."""
    if len(bad) > self._max_bad:
      raise images.ImageError(
        f"{len(bad)} of {self.count:,} photos cannot be used, more than max_bad_share "
        f"allows; one of them: {self._examples.describe(min(bad))}. "
        "`im21k verify` finds all of them"
      )


class TrainIterator(Iterator[dict[str, Any]]):
  """Batches of a TrainLoader; `position` is the next batch's first example.

  `bad` holds the records met so far that were replaced.
  """

  def __init__(self, loader: TrainLoader, position: int, place: Any = None):
    self.position = position
    self.bad: set[int] = set()
    self._loader = loader
    # Each thread makes whole batches, so that nothing is copied or awaited in between.
    batches: Any = (
      grain.MapDataset.range(_ENDLESS)
      .map(_MakeBatch(loader, position))
      .to_iter_dataset(
        grain.ReadOptions(
          num_threads=loader.threads, prefetch_buffer_size=loader.threads + 1
        )
      )
    )
    if loader.workers:
      if not flags.FLAGS.is_parsed():  # Grain asks for flags of its own.
        flags.FLAGS.mark_as_parsed()
      batches = batches.mp_prefetch(
        grain.multiprocessing.MultiprocessingOptions(
          num_workers=loader.workers, per_worker_buffer_size=1
        )
      )
    if place is not None:
      batches = grain.experimental.device_put(
        batches, place, cpu_buffer_size=1, device_buffer_size=2
      )
    self._batches = [iter(batches)]
    # Also when the interpreter ends, while grain can still stop what it has begun.
    self._end = weakref.finalize(self, _end, self._batches)

  def close(self) -> None:
    """Ends threads and worker processes; there are no further batches."""
    self._end()

  def __next__(self) -> dict[str, Any]:
    if not self._batches:
      raise StopIteration
    batch = dict(next(self._batches[0]))
    bad = np.asarray(batch.pop("bad"))
    if (bad != GOOD).any():
      self.bad |= set(bad[bad != GOOD].tolist())
      self._loader.check_bad(self.bad)
    self.position += self._loader._step
    return batch


def _end(batches: list) -> None:
  batches.pop().close()


@dataclasses.dataclass(frozen=True)
class _MakeBatch(grain.transforms.Map):
  loader: TrainLoader
  position: int

  def map(self, index: int) -> dict:
    _settle()
    return self.loader.batch(self.position + index * self.loader._step)


def check_batch_size(batch_size: int, devices: int) -> None:
  """Raises ValueError unless the devices can share a batch; says which they can."""
  if batch_size < 1 or batch_size % devices:
    raise ValueError(
      f"batch_size {batch_size} is not divisible by the {devices} devices: "
      f"take {max(1, batch_size // devices) * devices}, say"
    )


@functools.cache
def _settle() -> None:
  """What each process that makes batches does once."""
  machine.die_with_parent()
  _keep_freed_memory()


def _keep_freed_memory() -> None:
  """Lets glibc keep what is freed for the next record, instead of giving it back.

  Taking pages of memory anew costs more than reading: 0.085 ms a photo of 65 KB, and
  0.036 without (2 cores of an AMD EPYC, a virtual machine).
  """
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt:
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 32 * 2**20)
    mallopt(trim_threshold, 256 * 2**20)

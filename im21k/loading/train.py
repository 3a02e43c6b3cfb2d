"""Shards -> batches `{"image", "label"}` laid out for the devices of a host.

Images are uint8 RGB `[devices, batch / devices, size, size, 3]`, labels int32
`[devices, batch / devices]`; normalisation happens on the device.
"""

import dataclasses
import gc
import weakref
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags

from im21k.dataset.manifest import Manifest, Shard
from im21k.loading import processes, shared_memory
from im21k.loading.config import LoaderOptions, check_lanes
from im21k.loading.examples import GOOD, Examples, StageTimes
from im21k.loading.order import Blockwise, Global
from im21k.loading.shards import Records
from im21k.photos import images
from im21k.synsets import ClassList, ClassListMismatch

_ENDLESS = 2**40


class TrainLoader:
  """An endless stream of augmented training examples, reshuffled every epoch.

  `loader[i]` is example i of the stream, made without workers, whatever was read
  before; `iter_from(n)` gives batches from example n on. So the position `n` is the
  whole state, and batch size, workers, devices and hosts may change between runs.

  Example i of a batch goes to host i % hosts, and its example j to device j % devices:
  the same examples are together on a device, whichever host it belongs to. With one
  lane, as in runs from before there were lanes, a device has neighbouring examples.

  Crops are resampled bilinearly, from the smallest of the scales 1, 1/2, 1/4 and 1/8
  that is no smaller than the result.
  """

  def __init__(
    self,
    folder: Path | str,
    options: LoaderOptions | None = None,
    *,
    classes: ClassList | None = None,
    **changes: Any,
  ):
    """Opens the `train` split of a packed data set.

    Args:
      folder: folder of a packed data set.
      options: how to make batches; None takes the defaults.
      classes: the class list that labels must index; None takes the folder's.
      **changes: options by name, in place of those in `options`; without `options`,
        `batch_size` is needed.

    Raises:
      ValueError: an option is out of range, the number of hosts does not divide lanes,
        a shard is missing or has another size or number of records, or the class list
        is another one.
      FileNotFoundError: the folder holds no packed data set.
    """
    if options is None:
      options = LoaderOptions(**changes)
    else:
      options = dataclasses.replace(options, **changes)
    self.options = options
    self.manifest = Manifest.load(folder := Path(folder))
    self.classes = self.manifest.classes(folder)
    if classes is not None:
      try:
        classes.check_same(self.classes.name, self.classes.hash, f"photos in {folder}")
      except ClassListMismatch as error:
        remedy = f"--config.classes={folder} takes the list of these photos"
        raise ClassListMismatch(f"{error} {remedy}") from None
    self.manifest.shard_paths(folder, "train")  # Raises for missing and short shards.
    self.count = self.manifest.count("train")
    if not self.count:
      raise ValueError(f"{folder} holds no photos to train on: pack them again")
    shards = [shard for shard in self.manifest.splits["train"] if shard.count]
    paths = [(str(folder / shard.name), shard) for shard in shards]
    self._examples = Examples(
      Records(paths, len(self.classes), exact=options.hosts > 1),
      _order(shards, options),
      options.make_crop(),
      options.mirror,
      options.seed,
    )
    self.workers, self.threads = options.worker_count, options.thread_count

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Example `index` of the stream: `image` [h, w, 3] uint8, `label`, `key`."""
    size = self.options.image_size
    image = np.empty((size, size, 3), np.uint8)
    (numbers,) = self._examples.random_numbers(range(index, index + 1))
    made = self._examples.make(index, numbers, image)
    return {"image": image, "label": np.int32(made.label), "key": made.key}

  def iter_from(self, example: int, place: Any = None) -> "TrainIterator":
    """Batches from an example of the stream on.

    Args:
      example: index of the first example of a batch over all hosts.
      place: JAX sharding to which batches are transferred ahead of time; None leaves
        them in this process's memory.

    Raises:
      ValueError: hosts would not have examples of their own lanes from there on.
    """
    if example % self.options.hosts:
      raise ValueError(
        f"example {example:,} of the stream is not divisible by "
        f"{self.options.hosts} hosts: continue with as many hosts as before"
      )
    return TrainIterator(self, example, place)

  def batch(self, first: int, times: StageTimes | None = None) -> dict[str, np.ndarray]:
    """This host's part of the batch that begins with example `first`.

    Returns:
      `image`, `label`, and `bad`: int32, the record that an example replaces, or -1.
    """
    size, hosts = self.options.image_size, self.options.hosts
    positions = range(first, first + self.options.batch_size)[
      self.options.host :: hosts
    ]
    shape = self.options.devices, len(positions) // self.options.devices
    image = np.empty((*shape, size, size, 3), np.uint8)
    label, bad = np.empty(shape, np.int32), np.empty(shape, np.int32)
    self._examples.prepare(positions)
    numbers = self._examples.random_numbers(positions)
    if times:
      times.start()
    places = self.options.places
    for position, place, own in zip(positions, places, numbers, strict=True):
      made = self._examples.make(position, own, image[place], times)
      label[place], bad[place] = made.label, made.bad
    return {"image": image, "label": label, "bad": bad}

  def check_bad(self, bad: Collection[int]) -> None:
    """Raises ImageError if more records than allowed are unusable."""
    if len(bad) > int(self.options.max_bad_share * self.count):
      raise images.ImageError(
        f"{len(bad)} of {self.count:,} photos cannot be used, more than max_bad_share "
        f"allows; one of them: {self._examples.describe(min(bad))}. "
        "`im21k verify` finds the damaged shards"
      )


def _order(shards: Sequence[Shard], options: LoaderOptions) -> Blockwise | Global:
  counts, sizes = [s.count for s in shards], [s.bytes for s in shards]
  if options.order == "global":
    return Global(sum(counts), options.seed)
  order = Blockwise(counts, sizes, options.seed, lanes=options.lanes)
  if order.has_lanes:
    check_lanes(options.lanes, options.hosts)
  return order


class TrainIterator(Iterator[dict[str, Any]]):
  """Batches of a TrainLoader.

  Attributes:
    position: index of the next batch's first example.
    bad: records of the stream so far that were replaced.
  """

  def __init__(self, loader: TrainLoader, position: int, place: Any = None):
    self.position = position
    self.bad: set[int] = set()
    self._loader = loader
    # Each thread makes whole batches, so that no example is copied or waited for.
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
      pixels = loader.options.host_batch_size * loader.options.image_size**2
      shared_memory.check(loader.workers, 3 * pixels)
      if not flags.FLAGS.is_parsed():  # Grain reads flags of its own.
        flags.FLAGS.mark_as_parsed()
      batches = batches.mp_prefetch(
        grain.multiprocessing.MultiprocessingOptions(
          num_workers=loader.workers, per_worker_buffer_size=1
        ),
        worker_init_fn=processes.ignore_interrupts,
      )
    if place is not None:
      batches = grain.experimental.device_put(
        batches, place, cpu_buffer_size=1, device_buffer_size=2
      )
    self._batches = [iter(batches)]
    # Also at the interpreter's exit, while grain can still stop its threads.
    self._end = weakref.finalize(self, _end, self._batches, loader.workers > 0)

  def close(self) -> None:
    """Ends threads and worker processes; the iterator is then exhausted."""
    self._end()

  def __next__(self) -> dict[str, Any]:
    if not self._batches:
      raise StopIteration
    batch = dict(next(self._batches[0]))
    bad = np.asarray(batch.pop("bad"))
    if (bad != GOOD).any():
      self.bad |= set(bad[bad != GOOD].tolist())
      self._loader.check_bad(self.bad)
    self.position += self._loader.options.batch_size
    return batch


def _end(batches: list[Any], is_shared: bool) -> None:
  batches.pop().close()
  if is_shared:
    gc.collect()  # Else Python reports these batches as leaked memory at its exit.


@dataclasses.dataclass(frozen=True)
class _MakeBatch(grain.transforms.Map):  # type: ignore[misc]  # grain is untyped
  loader: TrainLoader
  position: int

  def map(self, index: int) -> dict[str, np.ndarray]:
    processes.set_up()
    return self.loader.batch(self.position + index * self.loader.options.batch_size)

"""Source and options -> estimates of memory, disk space and hours.

A hard disk is taken to seek in 9 ms and to transfer 170 MB/s, an SSD 2 GB/s.
"""

import contextlib
import errno
import itertools
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from im21k import machine, words
from im21k.dataset import records
from im21k.packing import repair, scratch, shard_writer
from im21k.packing.config import PackOptions
from im21k.packing.selection import Selection
from im21k.packing.shard_plan import default_shards
from im21k.photos import sources

SEEK, HARD_DISK, SSD = 0.009, 170e6, 2e9  # seconds, bytes/s, bytes/s
_SAMPLE = 500  # photos that are packed to measure rates
_PHOTO_BYTES = 90_000  # average of ImageNet, where photos are not counted
_LEAST_MEMORY = 256e6  # bytes


def memory(size: int, shards: int | None, workers: int) -> float:
  """GB of photos in a run of the external shuffle.

  Each run has a part for each shard, which costs a seek. Parts of 2 MB keep the seeks
  below a fifth of the time that a hard disk takes for all bytes (read, written, read,
  written), whatever their number. All workers share half of the machine's memory.

  Args:
    size: bytes of the source.
    shards: number of shards; None for the default.
    workers: number of workers, of which each holds a run.
  """
  count = shards or default_shards(size // _PHOTO_BYTES)
  wanted = max(_LEAST_MEMORY, count * SEEK * HARD_DISK / 0.8)
  return round(min(wanted, machine.memory() / 2 / workers) / 1e9, 3)


class FullDisk(OSError):
  """A disk that is full, or a quota that is used up; the message says what to do."""

  def __str__(self) -> str:
    return str(self.strerror)


def check_space(destination: Path, needed: int) -> None:
  """Raises FullDisk if the disk of the destination has less than `needed` bytes."""
  free = _free(destination)
  if needed > free:
    raise FullDisk(
      errno.ENOSPC,
      f"{destination} needs {_amount(needed)} more for scratch files and shards, but "
      f"has {_amount(free)} free: make space for {_amount(needed - free)}",
    )


@contextlib.contextmanager
def explain_full_disk(
  destination: Path, needed: Callable[[], int] | None = None
) -> Iterator[None]:
  """Adds to the error of a full disk how much is missing.

  Args:
    destination: folder on that disk.
    needed: gives the bytes that are still to be written, at most; None if only reports
      and the like are.

  Raises:
    FullDisk: the disk was full.
  """
  try:
    yield
  except (FullDisk, ChildProcessError):
    raise
  except OSError as error:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if not full:
      raise
    free = _free(destination)
    what = f"the disk of {destination} is full: {_amount(free)} are free"
    if error.errno == errno.EDQUOT:
      what = f"the quota on the disk of {destination} is used up"
    more = "" if needed is None else f", and at most {_amount(max(needed() - free, 0))}"
    raise FullDisk(
      errno.ENOSPC,
      f"{what}{more + ' more are needed' if more else ''}; make space, and repeat the "
      "command to resume",
    ) from error


def estimate(
  destination: Path,
  options: PackOptions,
  source: sources.Source,
  selection: Selection,
  direct: bool,
) -> dict[str, Any]:
  """Estimates what packing takes, from a sample of the source's photos.

  Returns:
    `photos`, `source_bytes`, `packed_bytes`, `scratch_bytes`, `free_bytes`, `memory_gb`
    of a worker, `core_hours`, and `hours` of processors, of a hard disk and of an SSD.
  """
  source = source.measured()
  size = sum(stream.size for stream in source.streams)
  sample = _Sample.of(source, selection)
  count = round(size * sample.photos / max(sample.read, 1))
  if source.root:
    listed = (entry for entry in source.entries() if entry.synset and not entry.problem)
    labels = (selection.label(entry.synset, entry.path) for entry in listed)
    count = sum(label is not None for label in labels)
  packed = round(size * sample.written / max(sample.read, 1))
  scratch = 0 if direct else packed
  workers = options.workers or machine.cores()
  core_hours = sample.seconds * count / max(sample.photos, 1) / 3600
  moved = size + packed + 2 * scratch
  runs_memory = options.memory or memory(size, options.shards, workers)
  # The direct way seeks for each photo, the other for each part of a run in a shard.
  parts = scratch / runs_memory / 1e9 * (options.shards or default_shards(count))
  seeks = count if direct else parts
  return {
    "dry_run": True,
    "photos": count,
    "source_bytes": size,
    "packed_bytes": packed,
    "scratch_bytes": scratch,
    "free_bytes": _free(destination),
    "memory_gb": 0.0 if direct else runs_memory,
    "core_hours": round(core_hours, 9),
    "hours": {
      "processors": round(core_hours / workers, 4),
      "hard_disk": round((moved / HARD_DISK + seeks * SEEK) / 3600, 4),
      "ssd": round(moved / SSD / 3600, 4),
    },
  }


def text(result: dict[str, Any]) -> str:
  """An estimate as text."""
  hours = result["hours"]
  return (
    f"{words.counted(result['photos'], 'photo')}, "
    f"{result['source_bytes'] / 1e9:,.2f} GB; packed "
    f"{result['packed_bytes'] / 1e9:,.2f} GB, and {result['scratch_bytes'] / 1e9:,.2f} "
    f"GB of scratch until then; {result['free_bytes'] / 1e9:,.2f} GB free; "
    f"{result['memory_gb']:,.1f} GB of memory a worker\n"
    f"{hours['processors']:,.2f} hours of the processors ({result['core_hours']:,.2f} "
    f"of one core, measured), {hours['hard_disk']:,.2f} of a hard disk of 170 MB/s, "
    f"{hours['ssd']:,.2f} of an SSD of 2 GB/s: the longest counts"
  )


class _Sample:
  """Photos packed as a test: number, bytes read and written, seconds of a core."""

  def __init__(self) -> None:
    self.photos = self.read = self.written = 0
    self.seconds = 0.0

  @classmethod
  def of(cls, source: sources.Source, selection: Selection) -> "_Sample":
    """Packs the first photos of some 20 streams, since classes differ in size."""
    sample = cls()
    step = max(1, len(source.streams) // 20)
    share = -(-_SAMPLE // len(source.streams[::step]))
    photos = itertools.chain.from_iterable(
      itertools.islice(stream.photos(), share) for stream in source.streams[::step]
    )
    with tempfile.TemporaryDirectory() as folder:
      (Path(folder) / scratch.FOLDER).mkdir()
      start = _cpu()
      shard_writer.write(
        Path(folder), "sample", sample._packed(photos, selection), records.Checksum()
      )
      sample.seconds = _cpu() - start
    return sample

  def _packed(
    self, photos: Iterator[sources.Photo], selection: Selection
  ) -> Iterator[bytes]:
    for photo in photos:
      self.photos += 1
      self.read += len(photo.data)
      with contextlib.suppress(repair.Rejected):
        jpeg, _, _ = selection.prepare(photo.data)
        self.written += len(jpeg)
        yield records.head(photo.key.encode("utf-8", "surrogateescape"), 0) + jpeg


def _free(folder: Path) -> int:
  """Free bytes on the disk of a folder, which need not exist."""
  places = (folder, *folder.absolute().parents)
  return shutil.disk_usage(next(path for path in places if path.exists())).free


def _amount(size: int) -> str:
  return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.3f} MB"


def _cpu() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime

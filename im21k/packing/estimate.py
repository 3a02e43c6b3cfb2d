"""What packing takes: memory, disk space, hours; told before it starts, or short of it.

Disks: a seek of 9 ms and 170 MB/s are those of a hard disk, 2 GB/s those of an SSD.
"""

import contextlib
import errno
import itertools
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from im21k import machine
from im21k.dataset import records
from im21k.packing import external_shuffle, repair, shard_writer
from im21k.packing.config import Options
from im21k.packing.split import default_shards
from im21k.photos import sources

SEEK, HARD_DISK, SSD = 0.009, 170e6, 2e9  # seconds, bytes/s, bytes/s
_TRIED = 500  # photos
_PHOTO_BYTES = 90_000  # of ImageNet, on average, where photos are not counted
_LEAST_MEMORY = 256e6


def memory(size: int, count: int | None, workers: int) -> float:
  """GB of photos in a run of the external shuffle.

  Each run gives a part to each shard, and costs a seek for it. Parts of 2 MB keep the
  seeks below a fifth of the time that a hard disk takes for all bytes (read, written,
  read, written), whatever their number. Half of the machine's memory is the most.

  Args:
    size: of the source in bytes.
    count: of the shards, if it is given.
    workers: that hold as much each.
  """
  count = count or default_shards(size // _PHOTO_BYTES)
  installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  wanted = max(_LEAST_MEMORY, count * SEEK * HARD_DISK / 0.8)
  return round(min(wanted, installed / 2 / workers) / 1e9, 3)


def check_space(destination: Path, needed: int) -> None:
  """Raises OSError if the disk of the destination has less than `needed` bytes."""
  free = shutil.disk_usage(destination).free
  if needed > free:
    raise OSError(
      errno.ENOSPC,
      f"{destination} needs {_amount(needed)} more, runs and shards together, but has "
      f"{_amount(free)} free: {_amount(needed - free)} are missing",
    )


@contextlib.contextmanager
def full_disk_told(destination: Path, needed: Any) -> Iterator[None]:
  """An error of a full disk tells how much is missing: `needed()` bytes at most."""
  try:
    yield
  except OSError as error:
    if error.errno != errno.ENOSPC and "No space left" not in str(error):
      raise
    free = shutil.disk_usage(destination).free
    raise OSError(
      errno.ENOSPC,
      f"the disk of {destination} is full: {_amount(free)} are free, and at most "
      f"{_amount(max(needed() - free, 0))} more are needed; make space, and give the "
      "same command to go on",
    ) from error


def estimate(
  options: Options, found: sources.Source, choice: external_shuffle.Choice, direct: bool
) -> dict[str, Any]:
  """What packing would take; rates are measured on some photos of the source.

  Returns:
    `photos`, `source_bytes`, `packed_bytes`, `scratch_bytes`, `free_bytes`, `memory_gb`
    of a worker, `core_hours`, and `hours` of processors, of a hard disk and of an SSD.
  """
  found = found.measured()
  size = sum(stream.size for stream in found.streams)
  tried = _Tried.of(found, choice)
  count = round(size * tried.photos / max(tried.read, 1))
  if found.root:
    listed = (choice.label(e.synset, e.path) for e in found.entries())
    count = sum(label is not None for label in listed)
  packed = round(size * tried.written / max(tried.read, 1))
  scratch = 0 if direct else packed
  workers = options.workers or machine.cores()
  core_hours = tried.seconds * count / max(tried.photos, 1) / 3600
  moved = size + packed + 2 * scratch
  runs_memory = options.memory or memory(size, options.shards, workers)
  # In the direct way each photo is a seek; else each part of a run in a shard.
  parts = scratch / runs_memory / 1e9 * (options.shards or default_shards(count))
  seeks = count if direct else parts
  destination = options.destination
  existing = next(
    p for p in (destination, *destination.absolute().parents) if p.exists()
  )
  return {
    "dry_run": True,
    "photos": count,
    "source_bytes": size,
    "packed_bytes": packed,
    "scratch_bytes": scratch,
    "free_bytes": shutil.disk_usage(existing).free,
    "memory_gb": 0.0 if direct else runs_memory,
    "core_hours": round(core_hours, 9),
    "hours": {
      "processors": round(core_hours / workers, 4),
      "hard_disk": round((moved / HARD_DISK + seeks * SEEK) / 3600, 4),
      "ssd": round(moved / SSD / 3600, 4),
    },
  }


def text(result: dict[str, Any]) -> str:
  """An estimate for people."""
  hours = result["hours"]
  return (
    f"{result['photos']:,} photos, {result['source_bytes'] / 1e9:,.2f} GB; packed "
    f"{result['packed_bytes'] / 1e9:,.2f} GB, and {result['scratch_bytes'] / 1e9:,.2f} "
    f"GB of scratch until then; {result['free_bytes'] / 1e9:,.2f} GB free; "
    f"{result['memory_gb']:,.1f} GB of memory a worker\n"
    f"{hours['processors']:,.2f} hours of the processors ({result['core_hours']:,.2f} "
    f"of one core, measured), {hours['hard_disk']:,.2f} of a hard disk of 170 MB/s, "
    f"{hours['ssd']:,.2f} of an SSD of 2 GB/s: the longest counts"
  )


class _Tried:
  """Some photos packed: their number, bytes read and written, seconds of one core."""

  def __init__(self) -> None:
    self.photos = self.read = self.written = 0
    self.seconds = 0.0

  @classmethod
  def of(cls, found: sources.Source, choice: external_shuffle.Choice) -> "_Tried":
    tried = cls()
    # Some of every so many streams, for classes differ.
    step = max(1, len(found.streams) // 20)
    share = -(-_TRIED // len(found.streams[::step]))
    photos = itertools.chain.from_iterable(
      itertools.islice(stream.photos(), share) for stream in found.streams[::step]
    )
    with tempfile.TemporaryDirectory() as folder:
      (Path(folder) / shard_writer.STATE).mkdir()
      start = _cpu()
      shard_writer.write(
        Path(folder), "tried", tried._packed(photos, choice), records.Checksum()
      )
      tried.seconds = _cpu() - start
    return tried

  def _packed(self, photos: Any, choice: external_shuffle.Choice) -> Iterator[bytes]:
    for photo in photos:
      self.photos += 1
      self.read += len(photo.data)
      with contextlib.suppress(repair.Rejected):
        jpeg, _, _ = choice.prepared(photo.data)
        self.written += len(jpeg)
        yield records.head(photo.key.encode("utf-8", "surrogateescape"), 0) + jpeg


def _amount(size: int) -> str:
  return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.3f} MB"


def _cpu() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime

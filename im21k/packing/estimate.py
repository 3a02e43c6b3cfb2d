"""Bytes of the sources -> memory that packing takes, and errors of a full disk.

A hard disk is taken to seek in 9 ms and to transfer 170 MB/s, an SSD 2 GB/s.
"""

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from im21k import machine
from im21k.packing.shard_plan import default_shards

SEEK, HARD_DISK, SSD = 0.009, 170e6, 2e9  # seconds, bytes/s, bytes/s
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
  left = free(destination)
  if needed > left:
    raise FullDisk(
      errno.ENOSPC,
      f"{destination} needs {_missing(needed)} more for scratch files and shards, but "
      f"has {_missing(left)} free: make space for {_missing(needed - left)}",
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
    left = free(destination)
    what = f"the disk of {destination} is full: {_missing(left)} are free"
    if error.errno == errno.EDQUOT:
      what = f"the quota on the disk of {destination} is used up"
    more = (
      "" if needed is None else f", and at most {_missing(max(needed() - left, 0))}"
    )
    raise FullDisk(
      errno.ENOSPC,
      f"{what}{more + ' more are needed' if more else ''}; make space, and repeat the "
      "command to resume",
    ) from error


def free(folder: Path) -> int:
  """Free bytes on the disk of a folder, which need not exist."""
  places = (folder, *folder.absolute().parents)
  return shutil.disk_usage(next(path for path in places if path.exists())).free


def amount(size: int) -> str:
  """So many bytes, in a unit of which there is at least one."""
  for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
    if size >= unit:
      value = size / unit
      return f"{value:,.0f} {name}" if value >= 100 else f"{value:.3g} {name}"
  return f"{size} bytes"


def _missing(size: int) -> str:
  return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.3f} MB"

"""A shard's path -> a reader of its records, or an error that names the shard."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from im21k.dataset.manifest import REMEDY


class UnreadableShard(ValueError):
  """The index of a shard is damaged, so that none of its records can be found."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
  """An ArrayRecordReader, closed at the end.

  Raises:
    UnreadableShard: the index is damaged; names the shard.
  """
  # Here: it is not needed to read other sources.
  from array_record.python.array_record_module import ArrayRecordReader

  try:
    reader = ArrayRecordReader(path)
    if not reader.ok():
      reader.close()  # Only this says why.
  except (RuntimeError, ValueError) as error:
    raise UnreadableShard(
      f"shard {path}: its index cannot be read ({error}): {REMEDY}"
    ) from error
  try:
    yield reader
  finally:
    with contextlib.suppress(RuntimeError):  # Of damage that a read has met.
      reader.close()


def stop_read_ahead(path: str) -> None:
  """Has the kernel read no more of a shard than readers of this process ask for.

  A kernel reads ahead of a sequence of reads, by megabytes: at the end of a block it
  has read much of the next one, which may be another host's. ArrayRecord's readers keep
  their descriptors to themselves, so those open on this file are looked up in /proc;
  where the system has none, it reads ahead as before.
  """
  there = os.path.realpath(path)
  with contextlib.suppress(FileNotFoundError):
    for number in os.listdir("/proc/self/fd"):
      with contextlib.suppress(OSError):  # Closed meanwhile.
        if os.readlink(f"/proc/self/fd/{number}") == there:
          os.posix_fadvise(int(number), 0, 0, os.POSIX_FADV_RANDOM)

"""A shard's path -> a reader of its records, or an error that names the shard."""

import contextlib
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

"""The shards of a split -> one sequence of records, by number."""

from collections.abc import Sequence
from typing import Any

import grain

from im21k.dataset import records, shard_files
from im21k.dataset.manifest import REMEDY, Shard, check_count
from im21k.photos import images


class Records:
  """The records of shards in turn, with random access."""

  def __init__(
    self, shards: Sequence[tuple[str, Shard]], classes: int, exact: bool = False
  ):
    """Opens shards.

    Args:
      shards: path and manifest entry of each.
      classes: number of classes, which bounds the labels.
      exact: the kernel reads records that are asked for and none that follow, which
        other hosts need.

    Raises:
      ValueError: a shard's index is damaged, or has another number of records.
    """
    self._args = shards, classes, exact
    self._to_stop = set(range(len(shards)) if exact else ())
    self._paths, self._classes = [path for path, _ in shards], classes
    self._source = _open(self._paths)
    opened = zip(shards, self._source._read_instructions, strict=True)
    for (path, shard), part in opened:
      check_count(path, part.num_records, shard.count)

  def __reduce__(self) -> tuple[Any, ...]:
    return Records, self._args

  def __len__(self) -> int:
    return len(self._source)

  def read(self, record: int) -> bytes:
    """The bytes of a record; RuntimeError if they are damaged."""
    return self._bytes(record)

  def example(self, record: int) -> records.Example:
    """The photo in a record.

    Raises:
      ImageError: the record is damaged.
      ValueError: its label is not in the class list, so that nothing here is trusted.
    """
    try:
      example = records.decode(self._bytes(record))
    except (RuntimeError, ValueError) as error:
      # Riegeli describes the damage, but does not name the file.
      raise images.ImageError(f"{self._place(record)}: {error}") from error
    if example.label >= self._classes:
      raise ValueError(
        f"{self._place(record)} has label {example.label} of {self._classes:,} "
        f"classes, which im21k pack does not write: {REMEDY}"
      )
    return example

  def _bytes(self, record: int) -> bytes:
    data: bytes = self._source[record]
    if self._to_stop:  # Behind the first read, which has opened the shard.
      shard, _ = self._source._reader_idx_and_position(record)
      if shard in self._to_stop:
        shard_files.stop_read_ahead(self._paths[shard])
        self._to_stop.discard(shard)
    return data

  def _place(self, record: int) -> str:
    shard, place = self._source._reader_idx_and_position(record)
    return f"record {place} of {self._paths[shard]}"


def _open(paths: list[str]) -> Any:
  try:
    # One thread per read, since many threads read.
    return grain.sources.ArrayRecordDataSource(
      paths, reader_options={"max_parallelism": "1"}
    )
  except (RuntimeError, ValueError) as error:
    for path in paths:
      with shard_files.opened(path):
        pass  # Raises for the damaged one, which `error` does not name.
    raise ValueError(f"a shard such as {paths[0]} cannot be read: {error}") from error

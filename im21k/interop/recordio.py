"""MXNet's .rec files: records one after another, and .idx files with their offsets.

In: paths. Out: image records, with what is lost between them; `record_walk` knows the
layout of the file.
"""

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path

from im21k.interop import lists
from im21k.interop.record_walk import MAGIC, Damaged, Walk

__all__ = ["MAGIC", "Lost", "Record", "read", "read_at", "read_index", "scan", "unpack"]

LARGEST = 256 << 20  # bytes of a record; no photo is larger
_HEAD = struct.Struct("<IfQQ")


@dataclasses.dataclass(frozen=True)
class Record:
  """An image record.

  Attributes:
    labels: one or more numbers.
    id: number of the image in the list that was packed.
    image: bytes of the image file, as packed.
  """

  labels: tuple[float, ...]
  id: int
  image: bytes


@dataclasses.dataclass(frozen=True)
class Lost:
  """Bytes between two sound records, or before the file's end, that are no record.

  Attributes:
    start, stop: the bytes, counted from the beginning of the file.
    reason: what is wrong at `start`.
  """

  start: int
  stop: int
  reason: str


def read(path: Path, largest: int = LARGEST) -> Iterator[tuple[int, bytes]]:
  """`(offset, data)` of every record in turn; memory for one record at a time.

  Args:
    path: the .rec file.
    largest: bytes that a record may have.

  Raises:
    ValueError: a record is damaged; names file, offset and reason.
  """
  with path.open("rb") as file:
    walk = Walk(file, largest)
    at = 0
    while at < walk.size:
      data, stop = _record(path, walk, at)
      yield at, data
      at = stop


def scan(path: Path, largest: int = LARGEST) -> Iterator[tuple[int, bytes] | Lost]:
  """`(offset, data)` of every sound record, and what is lost between them.

  After damage it goes on at the next record that is sound. A record is sound where the
  next one begins at its end, or the file ends there: a length that has changed, to
  fewer bytes or to more, would pass for other data.

  Args:
    path: the .rec file.
    largest: bytes that a record may have; longer ones are lost.
  """
  with path.open("rb") as file:
    walk = Walk(file, largest)
    at = 0
    while at < walk.size:
      try:
        data, stop = walk.record(at)
      except Damaged as damage:
        stop = walk.next_sound(at + 1)
        yield Lost(at, stop, str(damage))
      else:
        yield at, data
      at = stop


def read_at(path: Path, offset: int, largest: int = LARGEST) -> bytes:
  """Data of the record at an offset, as an .idx file has them; errors as in `read`."""
  with path.open("rb") as file:
    walk = Walk(file, largest)
    if not 0 <= offset < walk.size:
      raise ValueError(f"{path} at byte {offset}: no record can begin there")
    return _record(path, walk, offset)[0]


def unpack(data: bytes) -> Record:
  """An image record: `u32 n | f32 label | u64 id | u64 | n × f32 labels | image`."""
  if len(data) < _HEAD.size:
    raise ValueError(f"an image record of {len(data)} bytes has no head of 24")
  count, label, number, _ = _HEAD.unpack_from(data)
  start = _HEAD.size + 4 * count
  if start > len(data):
    raise ValueError(f"{count} labels do not fit into a record of {len(data)} bytes")
  labels = struct.unpack_from(f"<{count}f", data, _HEAD.size) if count else (label,)
  return Record(labels, number, data[start:])


def read_index(path: Path) -> dict[str, int]:
  """An .idx file: offset of every record by its key.

  Raises:
    ValueError: names file, line and reason.
  """
  offsets: dict[str, int] = {}
  with path.open(encoding="utf-8", errors="replace") as file:
    number = 0
    while line := file.readline(lists.LONGEST_LINE):
      number += 1
      fields = line.rstrip("\n").split("\t")
      if len(fields) != 2 or not lists.is_number(fields[1]):
        raise ValueError(
          f"{path} line {number}: not key, tab and offset, but {line.strip()[:80]!r}"
        )
      if fields[0] in offsets:
        raise ValueError(
          f"{path} line {number}: the key {fields[0][:80]!r} comes twice"
        )
      offsets[fields[0]] = int(fields[1])
  return offsets


def _record(path: Path, walk: Walk, at: int) -> tuple[bytes, int]:
  try:
    return walk.record(at)
  except Damaged as damage:
    raise ValueError(f"{path} at byte {at}: {damage}") from damage

"""MXNet's .rec files: records one after another, and .idx files with their offsets.

Little-endian, each record 4-byte aligned: `u32 0xCED7230A | u32 (part<<29)|length |
data | zeros`. Where the data holds the magic word at an aligned offset, the writer
splits the record there and leaves the word out; parts are 1 (first), 2 (middle), 3
(last) and 0 (whole). There is no header, footer or checksum.
"""

import dataclasses
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from im21k.interop import lists

MAGIC = b"\x0a\x23\xd7\xce"
LARGEST = 256 << 20  # bytes of a record; no photo is larger

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
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


def read(path: Path, largest: int = LARGEST) -> Iterator[tuple[int, bytes]]:
  """`(offset, data)` of every record in turn; memory for one record at a time.

  Args:
    path: the .rec file.
    largest: bytes that a record may have.

  Raises:
    ValueError: a record is damaged; names file, offset and reason.
  """
  with path.open("rb") as file:
    size = os.fstat(file.fileno()).st_size
    while (at := file.tell()) < size:
      yield at, _record(path, file, size, largest)


def read_at(path: Path, offset: int, largest: int = LARGEST) -> bytes:
  """Data of the record at an offset, as an .idx file has them; errors as in `read`."""
  with path.open("rb") as file:
    size = os.fstat(file.fileno()).st_size
    if not 0 <= offset < size or offset % 4:
      raise ValueError(f"{path} at byte {offset}: no record can begin there")
    file.seek(offset)
    return _record(path, file, size, largest)


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


def _record(path: Path, file: BinaryIO, size: int, largest: int) -> bytes:
  start = file.tell()
  parts: list[bytes] = []
  total = 0
  while True:
    at = file.tell()

    def error(reason: str, at: int = at) -> ValueError:
      return ValueError(f"{path} at byte {at}: {reason}")

    head = file.read(8)
    if len(head) < 8:
      raise error("the file ends within a record" if parts else "the file ends early")
    if head[:4] != MAGIC:
      raise error("no record begins here (there is no magic word)")
    (word,) = struct.unpack("<I", head[4:])
    part, length = word >> 29, word & ((1 << 29) - 1)
    if part not in ((_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)):
      where = f"inside the record of byte {start}" if parts else "where one begins"
      raise error(f"a part of kind {part} {where}")
    if length + -length % 4 > size - at - 8:
      raise error(f"{length} bytes are promised, but the file has {size - at - 8} more")
    total += length + 4
    if total > largest:
      raise error(f"a record of more than {largest} bytes")
    parts.append(file.read(length))
    file.read(-length % 4)
    if part in (_WHOLE, _LAST):
      return MAGIC.join(parts)

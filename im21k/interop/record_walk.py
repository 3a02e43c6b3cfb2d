"""A file of MXNet's records -> where sound records begin and end, and their data.

Little-endian, each record 4-byte aligned: `u32 0xCED7230A | u32 (part<<29)|length |
data | zeros`. Where the data holds the magic word at an aligned offset, the writer
splits the record there and leaves the word out; parts are 1 (first), 2 (middle), 3
(last) and 0 (whole). There is no header, footer or checksum, so a record counts as
sound only where what follows shows that its length is right.
"""

import os
import struct
from typing import BinaryIO

import numpy as np

MAGIC = b"\x0a\x23\xd7\xce"
_MAGIC_WORD = 0xCED7230A
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_WINDOWS = 1 << 12, 1 << 20  # bytes that are searched at once, at first and at most
# How the data of a JPEG or PNG end: proof of a length where damage follows.
_ENDINGS = (b"\xff\xd9", b"IEND\xaeB`\x82")


class Damaged(Exception):
  """No sound record begins at a byte; the message says why."""


class Walk:
  """An open .rec file, at any of whose bytes a record may begin."""

  def __init__(self, file: BinaryIO, largest: int):
    """Takes the file, and the bytes that a record may have."""
    self.size = os.fstat(file.fileno()).st_size
    self._file, self._largest = file, largest

  def record(self, at: int) -> tuple[bytes, int]:
    """Data of the record that begins at a byte, and where it ends.

    Raises:
      Damaged: none begins there, or it is not sound.
    """
    spans, stop = self._parts(at)
    parts = []
    for start, length in spans:
      parts.append(self._read(start, length))
      if any(self._read(start + length, -length % 4)):
        raise Damaged("bytes that fill up a part to 4 are not zero")
      _refuse_swallowed(start, parts[-1])
    data = parts[0] if len(parts) == 1 else MAGIC.join(parts)
    if not self._begins(stop) and not data.endswith(_ENDINGS):
      raise Damaged(f"the record ends at byte {stop}, where no other begins")
    if self._goes_on(stop):
      raise Damaged(f"the record ends at byte {stop}, where its next part begins")
    return data, stop

  def next_sound(self, at: int) -> int:
    """Where the next sound record begins, from a byte on; the file's end if none."""
    size, most = _WINDOWS
    while at < self.size:
      window = self._read(at, min(size, self.size - at))
      found = window.find(MAGIC)
      while found >= 0:
        if self._is_sound(at + found):
          return at + found
        found = window.find(MAGIC, found + 1)
      if len(window) < size:
        break
      at += size - len(MAGIC) + 1
      size = min(2 * size, most)
    return self.size

  def _is_sound(self, at: int) -> bool:
    try:
      return self._begins(self._parts(at)[1])
    except Damaged:
      return False

  def _begins(self, at: int) -> bool:
    """Whether the file ends at a byte, or a record begins there.

    Its magic word may be damaged if its length leads to the next one's.
    """
    if at == self.size:
      return True
    if self.size - at < 8:
      return False
    magic, length = self._head(at)[0], self._head(at)[2]
    if magic == MAGIC:
      return True
    after = _end(at, length)
    return after == self.size or (
      after <= self.size - 8 and self._head(after)[0] == MAGIC
    )

  def _goes_on(self, at: int) -> bool:
    """Whether the last parts of a record begin at a byte, up to its very last."""
    part, stop = _MIDDLE, at
    while part == _MIDDLE and stop - at <= self._largest and self.size - stop >= 8:
      magic, part, length = self._head(stop)
      if magic != MAGIC:
        return False
      stop = _end(stop, length)
    return part == _LAST

  def _parts(self, start: int) -> tuple[list[tuple[int, int]], int]:
    """Offset and length of the data of each part of a record, and the record's end."""
    spans: list[tuple[int, int]] = []
    at, total = start, 0
    while True:
      where = f"inside the record, at byte {at}" if spans else "where one begins"
      if self.size - at < 8:
        early = "the file ends within a record" if spans else "the file ends early"
        raise Damaged(early)
      magic, part, length = self._head(at)
      if magic != MAGIC:
        raise Damaged(f"there is no magic word {where}")
      if part not in ((_MIDDLE, _LAST) if spans else (_WHOLE, _FIRST)):
        raise Damaged(f"a part of kind {part} {where}")
      stop = _end(at, length)
      if stop > self.size:
        more = self.size - at - 8
        raise Damaged(f"{length} bytes are promised, but the file has {more} more")
      total += length + 4
      if total > self._largest:
        raise Damaged(f"a record of more than {self._largest} bytes")
      spans.append((at + 8, length))
      at = stop
      if part in (_WHOLE, _LAST):
        return spans, at

  def _head(self, at: int) -> tuple[bytes, int, int]:
    """Magic word, kind of part and length, in the 8 bytes of a head."""
    head = self._read(at, 8)
    (word,) = struct.unpack_from("<I", head, 4)
    return head[:4], word >> 29, word & ((1 << 29) - 1)

  def _read(self, at: int, count: int) -> bytes:
    self._file.seek(at)
    data = self._file.read(count)
    if len(data) != count:
      raise OSError(f"the file was made shorter than {at + count:,} bytes meanwhile")
    return data


def _end(at: int, length: int) -> int:
  """Where a part ends whose head is at a byte: its data are filled up to 4 bytes."""
  return at + 8 + length + -length % 4


def _refuse_swallowed(start: int, part: bytes) -> None:
  """Raises Damaged if heads lie within a part, whose length has grown over them.

  Writers split a record at each aligned magic word, so sound data holds none.

  Args:
    start: offset of the part's data, for the message.
    part: the data.
  """
  words = np.frombuffer(part, "<u4", len(part) // 4)
  (places,) = np.nonzero(words == _MAGIC_WORD)
  places = places[places < len(words) - 1]
  if not len(places):
    return
  lengths = words[places + 1].astype(np.int64)
  ends = places + 2 + -(-(lengths & ((1 << 29) - 1)) // 4)  # in words
  stop = -(-len(part) // 4)
  inner = (ends == stop) | (
    (ends < len(words)) & (words[ends % len(words)] == _MAGIC_WORD)
  )
  if inner.any():
    at = start + 4 * int(places[inner][0])
    raise Damaged(f"its length goes over the head at byte {at}")

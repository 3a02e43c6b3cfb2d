"""The bytes of a tar, read forwards; what is in them is found in `archives`.

In: a part of a file, or the content of a gzipped one. Out: bytes, at most up to the end
of a tar, and where the next sound header is.
"""

import io
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from im21k.photos import tar_headers
from im21k.photos.tar_headers import BLOCK

BUFFER = 16 << 20  # bytes read at once, so that a disk has little to seek
RECORD = 20 * BLOCK  # what most writers fill a tar up to a multiple of
_WORTH_A_SEEK = 1 << 20
_SCAN = 256 << 10  # bytes that are searched for a header at once
_HINT = 4 << 20  # most bytes that a damaged header is believed to have behind it


@runtime_checkable
class Readable(Protocol):
  """What a tar is read from: a part of a file, or the content of a gzipped one."""

  def read(self, count: int, /) -> bytes: ...

  def seekable(self) -> bool: ...

  def seek(self, offset: int, whence: int, /) -> int: ...


class Input:
  """Bytes that are read forwards, and can be looked at before.

  Attributes:
    at: offset of the next byte.
  """

  def __init__(self, file: Readable, at: int = 0):
    self._file, self.at = file, at
    self._ahead, self._used = b"", 0  # what was looked at, and how much of it was read

  def read(self, count: int) -> bytes:
    """So many bytes; fewer only at the end."""
    if self._used < len(self._ahead):
      data = self.peek(count)
      self._used += len(data)
    else:
      data = self._file.read(count)
    self.at += len(data)
    return data

  def peek(self, count: int) -> bytes:
    """The same bytes, which stay to be read."""
    if len(self._ahead) - self._used < count:
      rest = self._ahead[self._used :]
      self._ahead, self._used = rest + self._file.read(count - len(rest)), 0
    return self._ahead[self._used : self._used + count]

  def skip(self, count: int) -> int:
    """Passes over bytes; returns how many there were, at most `count`.

    Where seeking is possible, the last of them is read, to see that it is there.
    """
    start = self.at
    while (left := start + count - self.at) > 0:
      if (
        left > _WORTH_A_SEEK
        and self._used == len(self._ahead)
        and self._file.seekable()
      ):
        self._file.seek(left - 1, 1)
        self.at += left - 1
        left = 1
      if not self.read(min(left, BUFFER)):
        break
    return min(self.at - start, count)


class Window:
  """The part of an input up to where a tar ends.

  Attributes:
    input: the whole.
    stop: offset of the end; None means that of the input.
  """

  def __init__(self, whole: Input, stop: int | None):
    self.input, self.stop = whole, stop

  @property
  def at(self) -> int:
    """Offset of the next byte."""
    return self.input.at

  def read(self, count: int) -> bytes:
    """So many bytes; fewer only at the end."""
    return self.input.read(self._room(count))

  def peek(self, count: int) -> bytes:
    """The same bytes, which stay to be read."""
    return self.input.peek(self._room(count))

  def skip(self, count: int) -> int:
    """Passes over bytes; returns how many there were, at most `count`."""
    return self.input.skip(self._room(count))

  def skip_zeros(self) -> int:
    """Passes over blocks of zeros, and a shorter one at the end."""
    start, count = self.at, BLOCK
    while (data := self.peek(count)) and not data[0]:
      zeros = len(data) - len(data.lstrip(b"\0"))
      if zeros < len(data):
        zeros -= zeros % BLOCK
      if not zeros:
        break
      self.read(zeros)
      count = _SCAN
    return self.at - start

  def likely_end(self) -> int:
    """Bytes of the member whose damaged header is next, by the size in it.

    0 if the header is sound, or if neither another one nor zeros stand where they end.
    """
    block = self.peek(BLOCK)
    end = 0 if tar_headers.read(block) else tar_headers.likely_end(block)
    following = self.peek(end + BLOCK)[end:] if 0 < end <= _HINT else b""
    is_well = tar_headers.read(following) or not following.strip(b"\0")
    return end if len(following) == BLOCK and is_well else 0

  def to_next_header(self, most: int = 0) -> None:
    """Goes on to the next sound header, or to the end.

    Args:
      most: where else to stop, bytes from here; 0 for nowhere.
    """
    if most:
      Window(self.input, self.at + most).to_next_header()
      return
    while True:
      data = self.peek(_SCAN)
      at = data.find(tar_headers.MAGIC, tar_headers.MAGIC_AT)
      while at >= 0:
        start = at - tar_headers.MAGIC_AT
        block = data[start : start + BLOCK]
        if len(block) == BLOCK and tar_headers.with_magic(block):
          self.read(start)
          return
        at = data.find(tar_headers.MAGIC, at + 1)
      if len(data) < _SCAN:
        self.read(len(data))
        return
      self.read(len(data) - BLOCK + 1)

  def is_followed_well(self) -> bool:
    """Whether the end, which is next, is that of the input or of a tar within a tar.

    Then a header follows, or the end of the tar around it.
    """
    following = self.input.peek(2 * RECORD)
    zeros = len(following) - len(following.lstrip(b"\0"))
    if zeros < len(following):
      return zeros < BLOCK and tar_headers.read(following[:BLOCK]) is not None
    return not zeros or zeros == 2 * BLOCK or (self.at + zeros) % RECORD == 0

  def _room(self, count: int) -> int:
    left = count if self.stop is None else self.stop - self.at
    return max(0, min(count, left))


class _Part(io.FileIO):
  """A part of a file: a buffer would otherwise be filled with what follows, too."""

  def __init__(self, path: Path, start: int, stop: int):
    super().__init__(path)
    self.seek(start)
    self._stop = stop

  def readinto(self, buffer: Any) -> int:
    room = max(0, self._stop - self.tell())
    return super().readinto(memoryview(buffer)[:room])


def open_part(
  path: Path, offset: int, size: int, buffer: int = BUFFER
) -> io.BufferedReader:
  """`size` bytes at `offset` of a file."""
  return io.BufferedReader(_Part(path, offset, offset + size), buffer)

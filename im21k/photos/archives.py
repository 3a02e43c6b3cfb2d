"""Tars as streams: their members in the order of the file, none unpacked.

In: a tar, gzipped or not, or a part of a file that is one. Out: its `Member`s, and the
data of those that are asked for. Python's tarfile takes a damaged header in the middle
for the end of the archive; here it is an error.
"""

import dataclasses
import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

BLOCK = 512
LARGEST = 256 << 20  # bytes of a member that is a photo
BUFFER = 16 << 20  # bytes read at once, so that a disk has little to seek
_WORTH_A_SEEK = 1 << 20
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LARGEST_HEADER = 1 << 20


class DamagedArchive(ValueError):
  """The archive ends early or is something else; the message says where."""


@runtime_checkable
class Readable(Protocol):
  """What a tar is read from: a file, a gzipped one, or a member of another tar."""

  def read(self, count: int, /) -> bytes: ...

  def seekable(self) -> bool: ...

  def seek(self, offset: int, whence: int, /) -> int: ...


@dataclasses.dataclass(frozen=True)
class Member:
  """A member of a tar.

  Attributes:
    name, type: as tarfile gives them.
    size: bytes of its data.
    offset: where its data begins, from the beginning of the tar.
  """

  name: str
  type: bytes
  size: int
  offset: int

  @property
  def end(self) -> int:
    """Where the next member begins."""
    return self.offset + self.size + -self.size % BLOCK

  @property
  def regular(self) -> bool:
    return self.type in _REGULAR


class Reader:
  """Members of a tar, one after another; the data of each may be read or not.

  Args:
    file: read forwards from its current position; data is skipped by seeking where
      that is possible.
    name: for messages.
    size: bytes that belong to the tar; None means up to the end of the file.
  """

  def __init__(self, file: Readable, name: str, size: int | None = None):
    self._file, self._name, self._size = file, name, size
    self.at = 0

  def __iter__(self) -> Iterator[Member]:
    name: str | None = None
    size: int | None = None
    while True:
      header = self._next_header()
      if header is None:
        return
      start = self.at - BLOCK
      try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
      except tarfile.HeaderError as error:
        raise DamagedArchive(f"{self._name} at byte {start}: {error}") from error
      if info.size < 0:
        raise DamagedArchive(f"{self._name} at byte {start}: size {info.size}")
      if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        long_name = self._extension(info, start).rstrip(b"\0")
        if info.type == tarfile.GNUTYPE_LONGNAME:
          name = long_name.decode("utf-8", "surrogateescape")
        continue
      if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE):
        fields = _pax(self._extension(info, start), f"{self._name} at byte {start}")
        if info.type != tarfile.XGLTYPE:
          name = fields.get("path", name)
          size = int(fields["size"]) if fields.get("size", "").isdigit() else size
        continue
      data = size if size is not None else info.size
      if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE):
        data = 0
      if info.type == tarfile.GNUTYPE_SPARSE:
        # More blocks of the header follow while the last one says so.
        is_extended = header[482]
        while is_extended:
          is_extended = self._take(BLOCK)[504]
      member = Member(name or info.name, info.type, data, self.at)
      name = size = None
      yield member
      self._skip(member.end - self.at)

  def read(self, member: Member) -> bytes:
    """Data of the member that iteration gave last.

    Raises:
      DamagedArchive: the archive ends within it.
      ValueError: it has more than LARGEST bytes.
    """
    if member.size > LARGEST:
      raise ValueError(f"a member of {member.size:,} bytes")
    return self._take(member.size)

  def inner(self, member: Member) -> "Reader":
    """The tar that is the member which iteration gave last."""
    return Reader(_Within(self), f"{self._name}:{member.name}", member.size)

  def _next_header(self) -> bytes | None:
    """The next block that is not zero; None at the end of the file.

    Zeros end an archive, but `cat a.tar b.tar` leaves another one behind them.
    """
    zeros = False
    while not zeros or self._size is None or self._size - self.at >= BLOCK:
      if zeros and self._size is None:
        header = self._file.read(BLOCK)
        self.at += len(header)
        if not header.strip(b"\0") and len(header) < BLOCK:
          return None
      else:
        header = self._take(BLOCK)
      if header != bytes(BLOCK):
        return header
      zeros = True
    return None

  def _extension(self, info: tarfile.TarInfo, start: int) -> bytes:
    if info.size > _LARGEST_HEADER:
      raise DamagedArchive(
        f"{self._name} at byte {start}: a header of {info.size:,} bytes"
      )
    data = self._take(info.size)
    self._skip(-info.size % BLOCK)
    return data

  def _take(self, count: int) -> bytes:
    if self._size is not None and self.at + count > self._size:
      raise DamagedArchive(f"{self._name} ends early, at byte {self._size}")
    data = self._file.read(count)
    self.at += len(data)
    if len(data) < count:
      raise DamagedArchive(f"{self._name} ends early, at byte {self.at}")
    return data

  def _skip(self, count: int) -> None:
    while count > 0:
      if count > _WORTH_A_SEEK and self._file.seekable():
        # Up to the last byte, which must be there to be read.
        self._file.seek(count - 1, 1)
        self.at += count - 1
        count = 1
      count -= len(self._take(min(count, BUFFER)))


class _Within:
  """A member's data as a file."""

  def __init__(self, outer: Reader):
    self._outer = outer

  def read(self, count: int, /) -> bytes:
    return self._outer._take(count)

  def seekable(self) -> bool:
    return False

  def seek(self, offset: int, whence: int, /) -> int:
    raise OSError("a member is read forwards only")


class _Part(io.FileIO):
  """A part of a file: a buffer would otherwise be filled with what follows, too."""

  def __init__(self, path: Path, start: int, stop: int):
    super().__init__(path)
    self.seek(start)
    self._stop = stop

  def readinto(self, buffer: Any) -> int:
    room = max(0, self._stop - self.tell())
    return super().readinto(memoryview(buffer)[:room])


def is_gzip(path: Path) -> bool:
  """Whether a file is gzipped."""
  with path.open("rb", buffering=0) as file:
    return file.read(2) == b"\x1f\x8b"


def open_tar(
  path: Path, offset: int, size: int, buffer: int = BUFFER
) -> io.BufferedReader | gzip.GzipFile:
  """A tar of `size` bytes at `offset` of a file, or a gzipped file as a whole."""
  if is_gzip(path):
    return gzip.open(path)
  return io.BufferedReader(_Part(path, offset, offset + size), buffer)


def _pax(data: bytes, where: str) -> dict[str, str]:
  """`length key=value\\n`, one after another."""
  fields = {}
  while data:
    length, _, rest = data.partition(b" ")
    if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
      raise DamagedArchive(f"{where}: an extended header that is none")
    key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
    fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    data = data[int(length) :]
  return fields

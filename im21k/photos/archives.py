"""Tars as streams: their members in the order of the file, none unpacked.

In: the bytes of a tar, or a part of them. Out: its `Member`s, the data of those that
are asked for, and `Lost` for bytes that could not be read. The end of a tar is the end
of its bytes: behind damage, reading goes on at the next sound header.
"""

import dataclasses
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from im21k.photos import tar_headers
from im21k.photos.tar_headers import BLOCK

BUFFER = 16 << 20  # bytes read at once, so that a disk has little to seek
RECORD = 20 * BLOCK  # what most writers fill a tar up to a multiple of
PADDING = 1 << 20  # most zeros at the end of a tar
_WORTH_A_SEEK = 1 << 20
_SCAN = 256 << 10  # bytes that are searched for a header at once
_HINT = 4 << 20  # most bytes that a damaged header is believed to have behind it


@runtime_checkable
class Readable(Protocol):
  """What a tar is read from: a part of a file, or the content of a gzipped one."""

  def read(self, count: int, /) -> bytes: ...

  def seekable(self) -> bool: ...

  def seek(self, offset: int, whence: int, /) -> int: ...


@dataclasses.dataclass(frozen=True)
class Member:
  """A member of a tar.

  Attributes:
    name, type, link: as tarfile gives them; `link` is what a link leads to.
    size: bytes of its data.
    offset: where its data begins, in the file or in the content of a gzipped one.
    is_sparse: whether its data lacks the zeros of the file.
    is_cut: whether its size, that of a tar, should be larger.
  """

  name: str
  type: bytes
  size: int
  offset: int
  link: str = ""
  is_sparse: bool = False
  is_cut: bool = False

  @property
  def end(self) -> int:
    """Where the next member begins."""
    return self.offset + self.size + -self.size % BLOCK

  @property
  def regular(self) -> bool:
    return self.type in tar_headers.REGULAR and not self.is_sparse


@dataclasses.dataclass(frozen=True)
class Lost:
  """Bytes of a tar that could not be read.

  Attributes:
    offset, size: where, as in `Member`, and how many.
    reason: why.
    name: of the only member in them, if its header is sound.
    doubtful: whether bytes were lost or added in the member before, too.
  """

  offset: int
  size: int
  reason: str
  name: str = ""
  doubtful: bool = False


class Input:
  """Bytes that are read forwards, and can be looked at before.

  Attributes:
    at: offset of the next byte.
  """

  def __init__(self, file: Readable, at: int = 0):
    self._file, self._ahead, self.at = file, b"", at

  def read(self, count: int) -> bytes:
    """So many bytes; fewer only at the end."""
    if self._ahead:
      data = self.peek(count)
      self._ahead = self._ahead[count:]
    else:
      data = self._file.read(count)
    self.at += len(data)
    return data

  def peek(self, count: int) -> bytes:
    """The same bytes, which stay to be read."""
    if len(self._ahead) < count:
      self._ahead += self._file.read(count - len(self._ahead))
    return self._ahead[:count]

  def skip(self, count: int) -> int:
    """Passes over bytes; returns how many there were, at most `count`.

    Where seeking is possible, the last of them is read, to see that it is there.
    """
    start = self.at
    while (left := start + count - self.at) > 0:
      if left > _WORTH_A_SEEK and not self._ahead and self._file.seekable():
        self._file.seek(left - 1, 1)
        self.at += left - 1
        left = 1
      if not self.read(min(left, BUFFER)):
        break
    return min(self.at - start, count)


class Reader:
  """Members of a tar, one after another; the data of each may be read or not.

  Args:
    data: at the beginning of the tar.
    stop: where the tar ends; None means at the end of the data.
    is_tar: whether a member of this name is a tar.
    damaged: whether the beginning may be that of any member, or within one.

  Attributes:
    damaged: whether bytes were lost so far, so that any tar within this one may be
      what is read now.
  """

  def __init__(
    self,
    data: Input,
    stop: int | None = None,
    damaged: bool = False,
    is_tar: Callable[[str], bool] = lambda name: False,
  ):
    self._data, self._stop, self._is_tar, self.damaged = data, stop, is_tar, damaged
    self._begin = data.at  # of the first of perhaps several tars
    self._ends_in_zero = False  # the data that was read last
    self._is_short = False
    self._after_gap = damaged

  def __iter__(self) -> Iterator[Member | Lost]:
    if not self._peek(1):
      yield Lost(self._data.at, 0, "it has no bytes")
      return
    while True:
      start = self._data.at
      zeros = self._skip_zeros()
      block = self._peek(BLOCK)
      if len(block) < BLOCK:
        yield from self._end(start, zeros, block)
        return
      info = tar_headers.read(block)
      if info is None:
        doubtful = self._ends_in_zero or not (zeros or tar_headers.resembles(block))
        yield self._damage(start, "what should be a header is none", doubtful)
        continue
      if zeros:
        if not self._is_padding(zeros):
          reason = "zeros where a header should be"
          yield Lost(start, zeros, reason, doubtful=self._ends_in_zero)
          self._after_gap = self.damaged = True
        self._begin = self._data.at
      found = self._member(info)
      self._ends_in_zero = False
      yield found
      if isinstance(found, Member):
        yield from self._leave(found)

  @property
  def at(self) -> int:
    """Offset of the next byte."""
    return self._data.at

  def read(self, member: Member) -> bytes | None:
    """Data of the member that iteration gave last; None if the tar ends within it."""
    data = self._data.read(self._room(member.size))
    self._ends_in_zero = data.endswith(b"\0")
    self._is_short = len(data) < member.size
    return None if self._is_short else data

  def head(self, member: Member, count: int) -> bytes:
    """The first bytes of the same member, which stay to be read."""
    return self._peek(min(count, member.size))

  def inner(self, member: Member) -> "Reader":
    """The tar that is the member which iteration gave last."""
    return Reader(self._data, member.offset + member.size, member.is_cut)

  def pass_over_rest(self, member: Member) -> Lost:
    """The rest of the tar, from this member on, as bytes that are lost."""
    assert self._stop is not None
    self._skip(self._stop - self._data.at)
    self._is_short = True
    start = member.offset - BLOCK
    reason = f"{member.name!r} is not of this tar: bytes before it were removed"
    return Lost(start, self._data.at - start, reason)

  def _leave(self, member: Member) -> Iterator[Lost]:
    """Passes over what was not read of a member."""
    end = member.offset + member.size
    was_read = self._data.at > member.offset
    if not was_read and member.size:
      self._skip(member.size - 1)
      self._ends_in_zero = self._data.read(self._room(1)) == b"\0"
    self._skip(member.end - self._data.at)
    if self._data.at < end and not self._is_short:
      start = self._data.at if was_read else member.offset - BLOCK
      yield Lost(start, self._data.at - start, "it ends early", member.name)
      self._is_short = True

  def _member(self, info: tarfile.TarInfo) -> Member | Lost:
    """The member whose first header comes next, with its extended headers."""
    start, fields = self._data.at, dict[str, str]()
    name = link = broken = ""
    is_first, self._after_gap = self._after_gap, False
    block = self._data.read(BLOCK)
    while info.type in tar_headers.EXTENSIONS:
      if info.size > tar_headers.LONGEST:
        return self._damage(start, f"an extended header of {info.size:,} bytes")
      size = info.size + -info.size % BLOCK
      data = self._data.read(self._room(size))
      if len(data) < size:
        return self._lost(start, "it ends early, in an extended header")
      data = data[: info.size]
      if info.type in (tar_headers.LONG_NAME, tar_headers.LONG_LINK):
        text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        if info.type == tar_headers.LONG_NAME:
          name = text
        else:
          link = text
      else:
        try:
          found = tar_headers.pax(data)
        except ValueError as error:
          found, broken = {}, str(error)
        if info.type != tar_headers.GLOBAL:
          fields |= found
      following = tar_headers.read(self._peek(BLOCK))
      if following is None:
        return self._damage(start, "no header follows an extended header")
      info, block = following, self._data.read(BLOCK)
    if info.type == tarfile.GNUTYPE_SPARSE:
      # More blocks of the header follow while the last one says so.
      is_extended = block[482]
      while is_extended:
        block = self._data.read(self._room(BLOCK))
        if len(block) < BLOCK:
          return self._lost(start, "it ends early, in the header of a sparse file")
        is_extended = block[504]
    size = tar_headers.size_of_data(info)
    if "size" in fields and size:
      size = int(fields["size"])
    member = Member(
      fields.get("GNU.sparse.name") or fields.get("path") or name or info.name,
      info.type,
      size,
      self._data.at,
      fields.get("linkpath") or link or info.linkname,
      info.type == tarfile.GNUTYPE_SPARSE
      or any(key.startswith("GNU.sparse.") for key in fields),
    )
    if self._stop is not None and member.offset + size > self._stop:
      there = self._stop - member.offset
      if self._is_tar(member.name) and member.regular:
        # What is there of a tar within this one can still be read.
        return dataclasses.replace(member, size=there, is_cut=True)
      reason = f"it should have {size:,} bytes, but ends after {there:,}"
      return self._damage(start, reason, name=member.name)
    if is_first and not (name or "path" in fields) and tar_headers.may_be_cut(info):
      broken = f"a header that may say the whole name of {member.name!r} is lost"
    if broken:
      self._skip(member.end - self._data.at)
      return self._lost(start, broken)
    return member

  def _end(self, start: int, zeros: int, rest: bytes) -> Iterator[Lost]:
    """What is wrong with the end of the tar."""
    doubtful = self._ends_in_zero
    is_padding = self._is_padding(zeros)
    if rest:
      self._data.read(len(rest))
      reason = "part of a header" if not zeros else "something else behind the end"
      yield Lost(self._data.at - len(rest), len(rest), reason, doubtful=doubtful)
    elif self._is_short:
      return
    elif not zeros:
      reason = "it has no end mark, so it may be cut off"
      yield Lost(start, 0, reason, doubtful=doubtful)
    elif zeros > PADDING or (doubtful and not (is_padding and zeros <= RECORD + BLOCK)):
      reason = "zeros up to the end, as in an unfinished download"
      yield Lost(start, zeros, reason, doubtful=doubtful)

  def _damage(
    self, start: int, reason: str, doubtful: bool = False, name: str = ""
  ) -> Lost:
    """Goes on to the next sound header, and says what lies before it."""
    block = self._peek(BLOCK)
    end = 0 if name else tar_headers.likely_end(block)
    following = self._peek(end + BLOCK)[end:] if 0 < end <= _HINT else b""
    if len(following) == BLOCK and (
      tar_headers.read(following) or not following.strip(b"\0")
    ):
      self._data.read(end)
      last = self._data.at
    else:
      last = self._search()
    self.damaged = self._after_gap = True
    self._ends_in_zero = False
    return Lost(start, last - start, reason, name, doubtful)

  def _lost(self, start: int, reason: str) -> Lost:
    self.damaged = True
    return Lost(start, self._data.at - start, reason)

  def _search(self) -> int:
    """Goes on to the next sound header; returns where the last byte before it ends.

    Zeros before the end of the tar are not counted.
    """
    last = self._data.at
    while True:
      data = self._peek(_SCAN)
      at = data.find(tar_headers.MAGIC, tar_headers.MAGIC_AT)
      while at >= 0:
        start = at - tar_headers.MAGIC_AT
        block = data[start : start + BLOCK]
        if len(block) == BLOCK and tar_headers.with_magic(block):
          self._data.read(start)
          return self._data.at
        at = data.find(tar_headers.MAGIC, at + 1)
      is_end = len(data) < _SCAN
      passed = self._data.read(len(data) if is_end else len(data) - BLOCK + 1)
      if content := passed.rstrip(b"\0"):
        last = self._data.at - len(passed) + len(content)
      if is_end:
        self._is_short = True
        return last

  def _skip_zeros(self) -> int:
    """Passes over blocks of zeros, and a shorter one at the end."""
    start, count = self._data.at, BLOCK
    while (data := self._peek(count)) and not data[0]:
      zeros = len(data) - len(data.lstrip(b"\0"))
      if zeros < len(data):
        zeros -= zeros % BLOCK
      if not zeros:
        break
      self._data.read(zeros)
      count = _SCAN
    return self._data.at - start

  def _is_padding(self, zeros: int) -> bool:
    """Whether so many zeros, which were just read, are how writers end a tar."""
    if self.damaged and zeros >= 2 * BLOCK:
      return True
    is_full = (self._data.at - self._begin) % RECORD == 0
    return zeros == 2 * BLOCK or (zeros > 2 * BLOCK and is_full)

  def _room(self, count: int) -> int:
    left = count if self._stop is None else self._stop - self._data.at
    return max(0, min(count, left))

  def _peek(self, count: int) -> bytes:
    return self._data.peek(self._room(count))

  def _skip(self, count: int) -> int:
    return self._data.skip(self._room(count))


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

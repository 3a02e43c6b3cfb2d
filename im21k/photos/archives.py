"""Tars as streams: their members in the order of the file, none unpacked.

In: the bytes of a tar, or a part of them. Out: its `Member`s, the data of those that
are asked for, and `Lost` for bytes that could not be read. The end of a tar is the end
of its bytes: behind damage, reading goes on at the next sound header.
"""

import dataclasses
import tarfile
from collections.abc import Callable, Iterator

from im21k.photos import tar_headers
from im21k.photos.tar_headers import BLOCK
from im21k.photos.tar_input import Input, Window
from im21k.photos.tar_parts import Lost, Member

RECORD = 20 * BLOCK  # what most writers fill a tar up to a multiple of
PADDING = 1 << 20  # most zeros at the end of a tar
_HINT = 4 << 20  # most bytes that a damaged header is believed to have behind it


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
    self._data, self._is_tar, self.damaged = Window(data, stop), is_tar, damaged
    self._begin = data.at  # of the first of perhaps several tars
    self._ends_in_zero = False  # the data that was read last
    self._is_short = False
    self._after_gap = damaged

  def __iter__(self) -> Iterator[Member | Lost]:
    if not self._data.peek(1):
      yield Lost(self._data.at, 0, "it has no bytes")
      return
    while True:
      start = self._data.at
      zeros = self._data.skip_zeros()
      block = self._data.peek(BLOCK)
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
    data = self._data.read(member.size)
    self._ends_in_zero = data.endswith(b"\0")
    self._is_short = len(data) < member.size
    return None if self._is_short else data

  def head(self, member: Member, count: int) -> bytes:
    """The first bytes of the same member, which stay to be read."""
    return self._data.peek(min(count, member.size))

  def inner(self, member: Member) -> "Reader":
    """The tar that is the member which iteration gave last."""
    return Reader(self._data.input, member.offset + member.size, member.is_cut)

  def pass_over_rest(self, member: Member) -> Lost:
    """The rest of the tar, from this member on, as bytes that are lost."""
    assert self._data.stop is not None
    self._data.skip(self._data.stop - self._data.at)
    self._is_short = True
    start = member.offset - BLOCK
    reason = f"{member.name!r} is not of this tar: bytes before it were removed"
    return Lost(start, self._data.at - start, reason)

  def _leave(self, member: Member) -> Iterator[Lost]:
    """Passes over what was not read of a member."""
    end = member.offset + member.size
    was_read = self._data.at > member.offset
    if not was_read and member.size:
      self._data.skip(member.size - 1)
      self._ends_in_zero = self._data.read(1) == b"\0"
    self._data.skip(member.end - self._data.at)
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
      data = self._data.read(size)
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
      following = tar_headers.read(self._data.peek(BLOCK))
      if following is None:
        return self._damage(start, "no header follows an extended header")
      info, block = following, self._data.read(BLOCK)
    if info.type == tarfile.GNUTYPE_SPARSE:
      # More blocks of the header follow while the last one says so.
      is_extended = block[482]
      while is_extended:
        block = self._data.read(BLOCK)
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
    if self._data.stop is not None and member.offset + size > self._data.stop:
      there = self._data.stop - member.offset
      if self._is_tar(member.name) and member.regular:
        # What is there of a tar within this one can still be read.
        return dataclasses.replace(member, size=there, is_cut=True)
      reason = f"it should have {size:,} bytes, but ends after {there:,}"
      return self._damage(start, reason, name=member.name)
    if is_first and not (name or "path" in fields) and tar_headers.may_be_cut(info):
      broken = f"a header that may say the whole name of {member.name!r} is lost"
    if broken:
      self._data.skip(member.end - self._data.at)
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
    block = self._data.peek(BLOCK)
    end = 0 if name else tar_headers.likely_end(block)
    following = self._data.peek(end + BLOCK)[end:] if 0 < end <= _HINT else b""
    if len(following) == BLOCK and (
      tar_headers.read(following) or not following.strip(b"\0")
    ):
      self._data.read(end)
      last = self._data.at
    else:
      last = self._data.to_next_header()
      self._is_short = not self._data.peek(1)
    self.damaged = self._after_gap = True
    self._ends_in_zero = False
    return Lost(start, last - start, reason, name, doubtful)

  def _lost(self, start: int, reason: str) -> Lost:
    self.damaged = True
    return Lost(start, self._data.at - start, reason)

  def _is_padding(self, zeros: int) -> bool:
    """Whether so many zeros, which were just read, are how writers end a tar."""
    if self.damaged and zeros >= 2 * BLOCK:
      return True
    is_full = (self._data.at - self._begin) % RECORD == 0
    return zeros == 2 * BLOCK or (zeros > 2 * BLOCK and is_full)

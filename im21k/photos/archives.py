"""Tars as streams: their members in the order of the file, none unpacked.

In: the bytes of a tar, or a part of them. Out: its `Member`s, the data of those that
are asked for, and `Lost` for bytes that could not be read. The end of a tar is the end
of its bytes: behind damage, reading goes on at the next sound header.
"""

import dataclasses
import tarfile
from collections.abc import Callable, Iterator

from im21k.photos import image_files, tar_chain, tar_headers
from im21k.photos.tar_headers import BLOCK
from im21k.photos.tar_input import RECORD, Input, Window
from im21k.photos.tar_parts import Lost, Member

PADDING = 1 << 20  # most zeros at the end of a tar
_SMALL = 1 << 20  # bytes of a member that are read to see whether all is well


class Reader:
  """Members of a tar, one after another; the data of each may be read or not.

  Args:
    data: at the beginning of the tar.
    stop: where the tar ends; None means at the end of the data.
    is_tar: whether a member of this name is a tar.
    damaged: whether the beginning may be that of any member, or within one.
    is_cut: whether the end of the tar is missing, or its size is wrong.

  Attributes:
    damaged: whether bytes were lost so far, so that any tar within this one may be
      what is read now.
    is_behind_zeros: whether zeros, as at the end of a tar, precede the current member.
    is_after_gap: whether a header before the next one may be lost.
  """

  def __init__(
    self,
    data: Input,
    stop: int | None = None,
    damaged: bool = False,
    is_tar: Callable[[str], bool] = lambda name: False,
    is_cut: bool = False,
  ):
    self.is_cut, self.is_behind_zeros = is_cut, False
    self._data, self._is_tar, self.damaged = Window(data, stop), is_tar, damaged
    self._begin = data.at  # of the first of perhaps several tars
    self._suspect: Member | None = None  # the last one, if it has data of its own
    self._is_unclear = False  # that data: it ends in zero, or is followed by others
    self._clean = self._dirty = 0  # members, by what fills their last blocks
    self._is_moved = False  # that data is not all its own
    self._is_short = False
    self.is_after_gap = damaged
    self._tail = b""  # of the data that was read last, in its last block

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
      doubtful = self._is_unclear or self._is_moved
      if info is None:
        doubtful |= not (zeros or tar_headers.resembles(block))
        if zeros and self._is_padding(zeros):
          start = self._data.at
        yield self._damage(start, "what should be a header is none", doubtful)
        continue
      self.is_behind_zeros = zeros > 0
      if zeros:
        if doubtful or not self._is_padding(zeros):
          yield self._gap(start, zeros, "zeros where a header should be", doubtful)
          self.is_after_gap = self.damaged = True
        self._begin = self._data.at
      elif self._is_moved or (self._is_unclear and tar_headers.may_be_fallback(info)):
        yield self._gap(start, 0, "a member has data of others in it", True)
        self.is_after_gap = self.damaged = True
      found = self._member(info)
      self._is_unclear = self._is_moved = False
      self._suspect = found if isinstance(found, Member) and found.size else None
      yield found
      if isinstance(found, Member):
        yield from self._leave(found)

  def continues(self, begin: int) -> None:
    """Says that the tar began there, and that what is before was read elsewhere."""
    self._begin, self.is_after_gap = begin, True

  @property
  def at(self) -> int:
    """Offset of the next byte."""
    return self._data.at

  def read(self, member: Member) -> bytes | None:
    """Data of the member that iteration gave last; None if the tar ends within it."""
    data = self._data.read(member.size)
    self._is_unclear = image_files.may_go_on(data[-image_files.ENDING :])
    self._is_moved = tar_headers.are_inside(data)
    self._tail = data[len(data) - len(data) % BLOCK :]
    self._is_short = len(data) < member.size
    return None if self._is_short else data

  def head(self, member: Member, count: int) -> bytes:
    """The first bytes of the same member, which stay to be read."""
    return self._data.peek(min(count, member.size))

  def inner(self, member: Member) -> "Reader":
    """The tar that is the member which iteration gave last."""
    stop, self._suspect = member.offset + member.size, None
    return Reader(self._data.input, stop, is_cut=member.is_cut)

  def pass_over_rest(self, member: Member | None = None) -> Lost:
    """The rest of the tar, from here or this member on, as bytes that are lost."""
    assert self._data.stop is not None
    start = member.start if member else self._data.at
    self._data.skip(self._data.stop - self._data.at)
    self._is_short = self.damaged = True
    reason = "this is no longer the tar of this class: bytes before it were removed"
    return Lost(start, self._data.at - start, reason)

  def _leave(self, member: Member) -> Iterator[Lost]:
    """Passes over what was not read of a member."""
    end = member.offset + member.size
    was_read = self._data.at > member.offset
    if not was_read and 0 < member.size <= _SMALL:
      self.read(member)
    elif not was_read and member.size:
      self._data.skip(member.size - image_files.ENDING)
      self._is_unclear = image_files.may_go_on(self._data.read(image_files.ENDING))
    self._fill(self._data.read(member.end - self._data.at))
    self._is_short |= member.is_cut
    if self._data.at < end and not (self._is_short and was_read):
      start = self._data.at if was_read else member.start
      yield Lost(start, self._data.at - start, "it ends early", member.name)
      self._is_short = True

  def _fill(self, padding: bytes) -> None:
    """Looks at what fills the last block of a member: zeros, as a rule.

    If the tar has kept to that so far, anything else is data that was moved.
    """
    is_dirty = bool(padding.strip(b"\0"))
    self._is_unclear |= is_dirty  # Nothing is wrong yet, but if no header follows.
    self._dirty += is_dirty
    self._clean += bool(padding) and not is_dirty
    if is_dirty:
      is_header = tar_headers.with_magic(self._tail + padding) is not None
      self._is_moved |= is_header or self._clean > self._dirty

  def _member(self, info: tarfile.TarInfo) -> Member | Lost:
    """The member whose first header comes next, with its extended headers."""
    start = self._data.at
    is_first, self.is_after_gap = self.is_after_gap, False
    said = tar_chain.read(self._data, info)
    if said.stopped:
      return self._damage(start, said.stopped)
    member = Member(
      said.name or said.info.name,
      said.info.type,
      said.size,
      start,
      self._data.at,
      said.link or said.info.linkname,
      said.is_sparse,
    )
    if self._data.stop is not None and member.offset + member.size > self._data.stop:
      there = self._data.stop - member.offset
      if self._is_tar(member.name) and member.regular:
        # What is there of a tar within this one can still be read.
        return dataclasses.replace(member, size=there, is_cut=True)
      reason = f"it should have {member.size:,} bytes, but ends after {there:,}"
      return self._damage(start, reason, name=member.name)
    broken = said.broken
    if is_first and not said.name and tar_headers.may_be_cut(said.info):
      broken = "a header that may say its whole name is lost"
    if broken:
      self._data.skip(member.end - self._data.at)
      self.damaged = True
      return Lost(start, self._data.at - start, broken)
    return member

  def _end(self, start: int, zeros: int, rest: bytes) -> Iterator[Lost]:
    """What is wrong with the end of the tar."""
    doubtful = self._is_unclear or self._is_moved
    if rest:
      self._data.read(len(rest))
      reason = "something else behind the end" if zeros else "part of a header"
      yield self._gap(self._data.at - len(rest), len(rest), reason, doubtful)
    elif self._is_short:
      return
    elif not zeros:
      reason = "it has no end mark, so it may be cut off"
      yield self._gap(start, 0, reason, doubtful)
    elif self._is_moved:
      yield self._gap(start, 0, "a member has data of others in it", True)
    elif (
      zeros > PADDING
      or (doubtful and not self._is_sound_end(zeros))
      or (start == self._begin and not self._is_padding(zeros))  # nothing but zeros
    ):
      reason = "zeros up to the end, as in an unfinished download"
      yield self._gap(start, zeros, reason, doubtful)

  def _is_sound_end(self, zeros: int) -> bool:
    """Whether zeros at the end, behind data that ends in zero, are not a hole."""
    if not self._is_padding(zeros) or zeros > RECORD + BLOCK:
      return False
    return self._data.is_followed_well()

  def _damage(
    self, start: int, reason: str, doubtful: bool = False, name: str = ""
  ) -> Lost:
    """Goes on to the next sound header, and says what lies before it."""
    end = 0 if name else self._data.likely_end()
    if end and tar_headers.with_magic(self._data.peek(2 * BLOCK)[BLOCK:]):
      self._data.read(end)  # The member is a tar, with headers of its own.
    else:
      self._data.to_next_header(end)
      self._is_short = not self._data.peek(1)
    self.damaged = self.is_after_gap = True
    self._is_unclear = self._is_moved = False
    if name:
      return Lost(start, self._data.at - start, reason, name)
    return self._gap(start, self._data.at - start, reason, doubtful)

  def _gap(self, start: int, size: int, reason: str, doubtful: bool) -> Lost:
    """Bytes that are lost, with the member before them if that is doubtful."""
    if doubtful and self._suspect:
      size, start = start + size - self._suspect.start, self._suspect.start
    return Lost(start, size, reason, doubtful=doubtful)

  def _is_padding(self, zeros: int) -> bool:
    """Whether so many zeros, which were just read, are how writers end a tar."""
    if self.damaged and zeros >= 2 * BLOCK:
      return True
    is_full = (self._data.at - self._begin) % RECORD == 0
    return zeros == 2 * BLOCK or (zeros > 2 * BLOCK and is_full)

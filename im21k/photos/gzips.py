"""A gzipped file -> its content, and what of the file could not be read.

Its members follow each other; checksum and length are compared at the end of each.
Reading stops at damage, and goes on, if asked to, at the next sound member.
"""

import io
import zlib
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

MAGIC = b"\x1f\x8b\x08"
_CHUNK = 256 << 10  # bytes of the file read at once
_AT_ONCE = 1 << 20  # bytes of content made at once: a bomb grows no further
_TRIAL = 64 << 10
_WITH_HEADER = 16 + zlib.MAX_WBITS


class Damage(NamedTuple):
  """Bytes of a gzipped file that could not be read, and why."""

  offset: int
  size: int
  reason: str


class Gzip:
  """The content of a gzipped file, read forwards.

  Attributes:
    damages: what was found so far; all but the last are complete.
  """

  def __init__(self, path: Path):
    self._file = path.open("rb", buffering=0)
    self._size = self._file.seek(0, io.SEEK_END)
    self._file.seek(0)
    self._inflate = zlib.decompressobj(_WITH_HEADER)
    self._member = 0  # where the current member begins
    self._in = b""  # of the file, not inflated yet; ends at the file's position
    self._out = memoryview(b"")
    self._ended = self._size == 0
    self.damages: list[Damage] = []

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._file.close()

  def seekable(self) -> bool:
    """No: there is only one order."""
    return False

  def seek(self, offset: int, whence: int = 0, /) -> int:
    """Raises OSError."""
    raise OSError("a gzipped file is read forwards only")

  def read(self, count: int, /) -> bytes:
    """So many bytes of content; fewer only at the end or before damage."""
    if count <= len(self._out):
      data, self._out = bytes(self._out[:count]), self._out[count:]
      return data
    pieces = [self._out]
    missing = count - len(self._out)
    self._out = memoryview(b"")
    while missing and not self._ended:
      out = memoryview(self._next())
      pieces.append(out[:missing])
      self._out = out[missing:]
      missing -= len(pieces[-1])
    return b"".join(pieces)

  def resume(self) -> bool:
    """Goes on at the next sound member behind damage; False if there is none.

    Either way the damage is complete afterwards: it says how many bytes were not read.
    """
    damage = self.damages[-1]
    found = self._find_member(damage.offset + damage.size)
    self.damages[-1] = damage._replace(size=found - damage.offset)
    if found == self._size:
      return False
    self._file.seek(found)
    self._begin(b"", found)
    self._ended = False
    return True

  def _next(self) -> bytes:
    """Some more content; none at the end of a member."""
    if not self._in:
      self._in = self._file.read(_CHUNK)
      if not self._in:
        self._stop(self._size, "it ends early")
        return self._inflate.flush()
    # An error does not say where it is; a copy of the state finds that out.
    before = self._inflate.copy()
    try:
      out = self._inflate.decompress(self._in, _AT_ONCE)
    except zlib.error:
      return self._up_to_error(before)
    self._in = self._inflate.unconsumed_tail
    if self._inflate.eof:
      self._end_member(self._inflate.unused_data)
    return out

  def _up_to_error(self, state: "zlib._Decompress") -> bytes:
    """Content before an error in the bytes at hand, at which reading stops."""
    pieces, start = [], self._file.tell() - len(self._in)
    data, at, step = self._in, 0, 4096
    while True:
      before = state.copy()
      try:
        pieces.append(state.decompress(data[at : at + step]))
      except zlib.error as error:
        if step == 1:
          reason = str(error).partition(": ")[2]
          break
        state, step = before, 1
      else:
        at += step
    if reason in ("incorrect data check", "incorrect length check"):
      # All of it was read, and nothing says which part of it is damaged.
      count = start + at + 1 - self._member
      self._stop(self._member, f"{reason}: photos of it may be damaged", count)
    else:
      self._stop(start + at, reason)
    return b"".join(pieces)

  def _end_member(self, rest: bytes) -> None:
    """Begins the next member, if zeros and one follow."""
    while not (rest := rest.lstrip(b"\0")):
      rest = self._file.read(_CHUNK)
      if not rest:
        self._ended = True
        return
    start = self._file.tell() - len(rest)
    rest += self._file.read(len(MAGIC) - 1)
    if rest.startswith(MAGIC):
      self._begin(rest, start)
    else:
      self._stop(start, "what follows is not gzipped")

  def _begin(self, rest: bytes, start: int) -> None:
    self._inflate = zlib.decompressobj(_WITH_HEADER)
    self._in, self._member = rest, start

  def _stop(self, at: int, reason: str, count: int = 0) -> None:
    self._ended = True
    self.damages.append(Damage(at, count, reason))

  def _find_member(self, start: int) -> int:
    """Where the next sound member begins; else the end of the file."""
    self._file.seek(start)
    data = self._file.read(_CHUNK)
    while len(data) >= len(MAGIC):
      at = data.find(MAGIC)
      while at >= 0:
        if self._is_member(start + at):
          return start + at
        at = data.find(MAGIC, at + 1)
      kept = data[1 - len(MAGIC) :]
      start += len(data) - len(kept)
      self._file.seek(start + len(kept))
      more = self._file.read(_CHUNK)
      if not more:
        break
      data = kept + more
    return self._size

  def _is_member(self, at: int) -> bool:
    self._file.seek(at)
    trial = zlib.decompressobj(_WITH_HEADER)
    try:
      out = trial.decompress(self._file.read(_TRIAL), _TRIAL)
    except zlib.error:
      return False
    return bool(out) or trial.eof


def is_gzip(path: Path) -> bool:
  """Whether a file is gzipped."""
  with path.open("rb", buffering=0) as file:
    return file.read(2) == MAGIC[:2]

"""Photos in an MXNet .rec file."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

from im21k.interop import recordio
from im21k.photos import listings
from im21k.photos.photo import Loss, Photo

_IN_MAP = 1 << 30  # ids below are remembered as bits, in 128 MiB at most


@dataclasses.dataclass(frozen=True)
class Rec:
  """A .rec; the ids of its records, behind their classes, are the keys of the photos.

  Where the first two records have the same id, ids mean nothing, and positions are the
  keys. Where an id has come before, the record's offset is added to it. So no two
  photos have the same key, whatever the ids are.

  Attributes:
    path: the file.
    size: its bytes.
    classes: synset of each label.
  """

  path: Path
  size: int
  classes: tuple[str, ...]

  @property
  def count(self) -> None:
    """Not known: the file has no table of contents."""
    return None

  def photos(self) -> Iterator[Photo]:
    """The photos; damage is a photo with a problem, and reading goes on behind it."""
    return self._photos(eager=True)

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for."""
    return self._photos(eager=False)

  def _photos(self, eager: bool) -> Iterator[Photo]:
    records = map(self._record, recordio.scan(self.path))
    for position, (record, number) in enumerate(_numbered(records)):
      if record.problem:
        key = f"{self.path.name}/{position}"
        yield Photo(key, "", problem=record.problem, loss=record.loss)
        continue
      read = functools.partial(self._image_at, record.offset)
      image = record.image if eager else read
      yield Photo(f"{record.synset}/{number}", record.synset, image)

  def _record(self, found: tuple[int, bytes] | recordio.Lost) -> "_Record":
    if isinstance(found, recordio.Lost):
      count = found.stop - found.start
      reason = f"{found.reason}; {count:,} bytes are lost"
      problem = "damaged archive", f"{self.path} at byte {found.start}: {reason}"
      return _Record(found.start, problem=problem, loss=Loss(self.path.name, count))
    offset, data = found
    try:
      record = recordio.unpack(data)
      synset = listings.class_of(record.labels, self.classes)
    except ValueError as error:
      problem = "unreadable", f"{self.path} at byte {offset}: {error}"
      return _Record(offset, problem=problem)
    return _Record(offset, record.id, synset, record.image)

  def _image_at(self, offset: int) -> bytes:
    try:
      return recordio.unpack(recordio.read_at(self.path, offset)).image
    except ValueError as error:  # The file has changed since.
      raise OSError(str(error)) from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
  """A record with its class, or the problem why it has none."""

  offset: int
  id: int = 0
  synset: str = ""
  image: bytes = b""
  problem: tuple[str, str] | None = None
  loss: Loss | None = None


def _numbered(records: Iterator[_Record]) -> Iterator[tuple[_Record, str]]:
  """Records with what tells each from the others of its class."""
  ahead: list[_Record] = []
  ids: list[int] = []
  while len(ids) < 2 and (record := next(records, None)):
    ahead.append(record)
    if not record.problem:
      ids.append(record.id)
  by_position = len(ids) == 2 and ids[0] == ids[1]
  seen = _Seen()
  for position, record in enumerate(itertools.chain(ahead, records)):
    if by_position:
      yield record, str(position)
    elif record.problem or seen.add(record.id):
      yield record, str(record.id)
    else:
      yield record, f"{record.id}@{record.offset}"


class _Seen:
  """The ids so far: a bit each, but for very large ones."""

  def __init__(self) -> None:
    self._bits, self._large = bytearray(), set[int]()

  def add(self, number: int) -> bool:
    """Whether a number is new."""
    if number >= _IN_MAP:
      before = len(self._large)
      self._large.add(number)
      return len(self._large) > before
    at, bit = number >> 3, 1 << (number & 7)
    if at >= len(self._bits):
      self._bits.extend(bytes(max(at + 1 - len(self._bits), len(self._bits))))
    old = self._bits[at]
    self._bits[at] = old | bit
    return not old & bit

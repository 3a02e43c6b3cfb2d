"""A source of photos -> the same from a place on, and where each photo is in it.

Of several hosts each has its part of every batch: the first host the first photos, and
so on. So what all devices compute together comes in the order of the source.
"""

import dataclasses
import itertools
from collections.abc import Generator, Iterator
from typing import Any

from im21k.features.part_files import Place
from im21k.hosts import session
from im21k.photos import Photo, Source
from im21k.photos.packed import Shard


@dataclasses.dataclass(frozen=True)
class Turns:
  """Which photos are those of one host.

  Attributes:
    host, hosts: number of this host, and of all.
    size: photos of each in a batch.
  """

  host: int = 0
  hosts: int = 1
  size: int = 1

  def within(self, first: int, stop: int) -> Iterator[range]:
    """The positions of this host in a range."""
    batch = self.size * self.hosts
    own = first // batch * batch + self.host * self.size
    for start in range(own, stop, batch):
      if some := range(max(first, start), min(stop, start + self.size)):
        yield some

  def has(self, position: int) -> bool:
    """Whether a photo is of this host."""
    return position // self.size % self.hosts == self.host


_ALL = Turns()


class Rest:
  """The photos behind a place, as a stream; see `photos.Stream`.

  Streams before the place are not read. Those in it are: photos in a tar have no other
  order than that of its bytes.
  """

  size = 0

  def __init__(
    self,
    source: Source,
    begin: Place | None = None,
    done: int = 0,
    turns: Turns = _ALL,
  ):
    """Prepares to read.

    Args:
      source: all photos.
      begin: where to begin; None: at the first.
      done: number of photos before it.
      turns: which of the photos from there on to give.
    """
    self._source, self._begin, self._done = source, begin, done
    self._turns = turns
    # Of each stream that was begun: its number, and how many photos came before it.
    self._begun: list[tuple[int, int]] = []

  @property
  def count(self) -> int | None:
    """Photos behind the place; None if it is not known before reading."""
    total = self._source.count
    return None if total is None else max(0, total - self._done)

  def photos(self) -> Iterator[Photo]:
    """The photos, once.

    Raises:
      ValueError: another photo than before is in front of the place.
    """
    first, skipped, read = 0, 0, 0
    if self._begin:
      first, skipped = self._begin.stream, self._begin.photos
      if first >= len(self._source.streams):
        _check(None, self._begin)
    for number, stream in enumerate(self._source.streams[first:], first):
      self._begun.append((number, read - skipped))
      read = yield from self._own(stream, skipped, read)
      skipped = 0

  def _own(self, stream: Any, skipped: int, read: int) -> Generator[Photo, None, int]:
    """The photos of a stream behind so many of it; returns the position behind all."""
    before = read - skipped
    if self._turns.hosts > 1 and isinstance(stream, Shard) and stream.is_readable:
      if skipped and self._begin:
        _check(stream.at(skipped - 1).key, self._begin)
      own = self._turns.within(read, before + stream.count)
      yield from stream.among(range(o.start - before, o.stop - before) for o in own)
      return before + stream.count
    photos = iter(stream.photos())
    if skipped and self._begin:
      last = next(itertools.islice(photos, skipped - 1, None), None)
      _check(last.key if last else None, self._begin)
    for photo in photos:
      if self._turns.has(read):
        yield photo
      read += 1
    return read

  def place(self, read: int, key: str) -> Place:
    """The place behind so many photos, of which the last has this key."""
    number, before = max(
      (begun for begun in self._begun if begun[1] < read), key=lambda begun: begun[0]
    )
    return Place(number, read - before, key)

  @property
  def begun(self) -> list[tuple[int, int]]:
    """The streams so far: number of each, and how many photos came before it."""
    return list(self._begun)


class OtherPhotos(ValueError):
  """Hosts have not read the same photos."""


class Ends:
  """Where batches end, as all hosts say, of whom one has the last photo."""

  def __init__(self, rest: Rest, turns: Turns):
    """Begins with the rest."""
    self._rest, self._turns, self._told = rest, turns, 0
    self._starts: dict[int, int] = {}  # of streams, by number

  def place(self, read: int, count: int, key: str) -> Place:
    """The place behind so many photos.

    Args:
      read: photos of all hosts.
      count: how many of them are in the last batch; not 0.
      key: of the last.

    Raises:
      OtherPhotos: hosts have not read the same.
    """
    own = max((o.stop for o in self._turns.within(read - count, read)), default=0)
    mine = dataclasses.asdict(self._rest.place(own, key)) if own else None
    return Place(**max(self._said(own, mine), key=lambda one: one[0])[1])

  def check(self) -> None:
    """Raises OtherPhotos if hosts have not read the same to the end."""
    self._said(0, None)

  def _said(self, own: int, mine: dict[str, Any] | None) -> list[Any]:
    """What all hosts say: photos up to their last of a batch, and its place."""
    begun = self._rest.begun[self._told :]
    self._told += len(begun)
    said = session.all_say("the places", [own, mine, begun])
    starts = [start for *_, begun in said for start in begun]
    # An archive that a host reads otherwise than another moves all photos behind it.
    same = all(self._starts.setdefault(at, before) == before for at, before in starts)
    for own, place, _ in said:
      if place:
        behind = (at for at, before in self._starts.items() if before < own)
        same = same and max(behind) <= place["stream"]
    if not same:
      raise OtherPhotos(
        "hosts have not read the same photos: one of them has a damaged copy, or they "
        "have changed meanwhile"
      )
    return said


def _check(key: str | None, place: Place) -> None:
  if key != place.key:
    there = "nothing" if key is None else repr(key)
    raise ValueError(
      f"the photos have changed: photo {place.photos:,} of part {place.stream + 1} was "
      f"{place.key!r}, and now {there} is there: begin again in another place"
    )

"""A source of photos -> the same from a place on, and where each photo is in it."""

import itertools
from collections.abc import Iterator

from im21k.features.part_files import Place
from im21k.photos import Photo, Source


class Rest:
  """The photos behind a place, as a stream; see `photos.Stream`.

  Streams before the place are not read. Those in it are: photos in a tar have no other
  order than that of its bytes.
  """

  size = 0

  def __init__(self, source: Source, begin: Place | None = None, done: int = 0):
    """Prepares to read.

    Args:
      source: all photos.
      begin: where to begin; None: at the first.
      done: number of photos before it.
    """
    self._source, self._begin, self._done = source, begin, done
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
      photos = iter(stream.photos())
      if skipped and self._begin:
        last = next(itertools.islice(photos, skipped - 1, None), None)
        _check(last.key if last else None, self._begin)
        skipped = 0
      for photo in photos:
        read += 1
        yield photo

  def place(self, read: int, key: str) -> Place:
    """The place behind so many photos, of which the last has this key."""
    number, before = max(
      (begun for begun in self._begun if begun[1] < read), key=lambda begun: begun[0]
    )
    return Place(number, read - before, key)


def _check(key: str | None, place: Place) -> None:
  if key != place.key:
    there = "nothing" if key is None else repr(key)
    raise ValueError(
      f"the photos have changed: photo {place.photos:,} of part {place.stream + 1} was "
      f"{place.key!r}, and now {there} is there: begin again in another place"
    )

"""A stream of photos -> every so many of them: what one of several hosts reads."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from im21k.photos import packed, tfds
from im21k.photos.photo import Entry, Photo


@dataclasses.dataclass(frozen=True)
class Share:
  """Every `step`-th photo of a stream; one with a problem counts as any other.

  Of files, packed photos and prepared data sets, no other photo is read. Archives are
  read in sequence, and the others dropped before they are decoded.

  Attributes:
    stream: all photos.
    first: the first of these, from 0.
    step: of how many one is taken.
    size: bytes, not known.
  """

  stream: Any
  first: int
  step: int
  size: int = 0

  @property
  def count(self) -> int | None:
    """Number of these photos; None if it is not known before reading."""
    count = self.stream.count
    return None if count is None else len(range(self.first, count, self.step))

  def photos(self) -> Iterator[Photo]:
    """These photos in the order of the stream."""
    if isinstance(self.stream, packed.Shard | tfds.Prepared):
      return self.stream.every(self.first, self.step)
    return self._of(self.stream.photos())

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for."""
    return self._of(self.stream.located())

  def entries(self) -> Iterator[Entry]:
    """The list of these photos, none of them read; of files only."""
    return self._of(self.stream.entries())

  def _of(self, every: Iterator[Any]) -> Iterator[Any]:
    return itertools.islice(every, self.first, None, self.step)

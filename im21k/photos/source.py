"""What `photos.open` returns: the photos of a place, as streams in their own order."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from im21k.photos import folders, listings, packed
from im21k.photos.photo import Chosen, Entry, Photo


class WithoutEffect(ValueError):
  """An argument that this source leaves without effect."""


@dataclasses.dataclass(frozen=True)
class Source:
  """Photos in their natural order; iterating gives each `Photo` once.

  Attributes:
    streams: parts that can be read independently of each other, and pickled.
    root: the folder that the keys are paths in, where each photo is a file; else None.
    files: other files, which say the classes of photos.
  """

  streams: tuple[Any, ...]
  root: Path | None = None
  files: tuple[Path, ...] = ()

  def __iter__(self) -> Iterator[Photo]:
    return itertools.chain.from_iterable(stream.photos() for stream in self.streams)

  @functools.cached_property
  def count(self) -> int | None:
    """Number of photos; None if it is not known before reading. Lists folders."""
    total = 0
    for stream in self.streams:
      count: int | None = stream.count
      if count is None:
        return None
      total += count
    return total

  def shuffled(self, seed: int = 0) -> "Source":
    """The same photos in a random order, none read before its turn.

    Photos that `im21k pack` wrote keep their order, for packing has shuffled them.
    The first pass over an archive finds out where its photos are.

    Raises:
      ValueError: the source is a gzipped tar, which has one order only.
    """
    if all(isinstance(stream, packed.Shard) for stream in self.streams):
      return self
    located = [photo for stream in self.streams for photo in stream.located()]
    order = np.random.default_rng(seed).permutation(len(located))
    return Source((Chosen(tuple(located[index] for index in order)),))

  def share(self, part: int, parts: int) -> "Source":
    """Of `parts` photos one: all parts together have each photo once.

    Of packed photos and of files no other is read; an archive is read by each part.
    """
    return Source((_Share(self, part, parts),))

  def pick(self, positions: Sequence[int]) -> list[Photo]:
    """The photos at these positions of the iteration, in the order asked for."""
    picked: dict[int, Photo] = {}
    wanted, start = sorted(set(positions)), 0
    for stream in self.streams:
      if len(picked) == len(wanted):
        break
      if isinstance(stream, packed.Shard | Chosen):
        stop = start + stream.count
        inside = (at for at in wanted if start <= at < stop)
        picked |= {at: stream.at(at - start) for at in inside}
        start = stop
        continue
      for photo in itertools.islice(stream.photos(), wanted[-1] + 1 - start):
        if start in wanted:
          picked[start] = photo
        start += 1
    return [picked[position] for position in positions]

  def entries(self) -> Iterator[Entry]:
    """The list of photos, none of them read; only with `root`."""
    for stream in self.streams:
      yield from stream.entries()

  def measured(self) -> "Source":
    """The same with the bytes of each stream, which are looked up for files."""
    of_files = folders.ClassFolder | folders.PhotoFolder | listings.Listed
    sized = (
      dataclasses.replace(
        stream, size=sum(folders.size_of(e.path) for e in stream.entries())
      )
      if isinstance(stream, of_files)
      else stream
      for stream in self.streams
    )
    return Source(tuple(sized), self.root, self.files)


@dataclasses.dataclass(frozen=True)
class _Share:
  """A stream of every `parts`-th photo of a source, the first of them `part`."""

  whole: Source
  part: int
  parts: int

  @property
  def count(self) -> int | None:
    """Number of photos; None if it is not known before reading."""
    total = self.whole.count
    return None if total is None else len(range(self.part, total, self.parts))

  def photos(self) -> Iterator[Photo]:
    """The photos, in the order of the source."""
    place = 0  # of the stream's first photo
    for stream in self.whole.streams:
      if isinstance(stream, packed.Shard):
        yield from stream.every((self.part - place) % self.parts, self.parts)
        place += stream.count
        continue
      for place, photo in enumerate(stream.photos(), place + 1):  # noqa: B020
        if (place - 1) % self.parts == self.part:
          yield photo

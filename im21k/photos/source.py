"""What `photos.open` returns: the photos of a place, as streams in their own order."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from im21k.photos import folders, listings, packed, shares
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

  def share(self, host: int, hosts: int) -> "Source":
    """The photos of one of several hosts: each is of exactly one, also unreadable ones.

    Where the numbers of photos are known, photo i of all is of host i % hosts, and the
    hosts' numbers differ by one at most. Of archives, whose numbers are not, each host
    reads all bytes, but decodes its own photos alone. Lists folders.

    Raises:
      ValueError: there is no such host.
    """
    if not 0 <= host < hosts:
      raise ValueError(f"host is {host}, but must be one of 0 to {hosts - 1}")
    if hosts == 1:
      return self
    before, parts = 0, []
    for stream in self.streams:
      parts.append(shares.Share(stream, (host - before) % hosts, hosts))
      # Hosts begin archives in turn too, so that none has more of all.
      before += 1 if stream.count is None else stream.count
    return Source(tuple(parts), self.root, self.files)

  def shuffled(self, seed: int = 0) -> "Source":
    """The same photos in a random order, none read before its turn.

    Photos that `im21k pack` wrote keep their order, for packing has shuffled them.
    The first pass over an archive finds out where its photos are.

    Raises:
      ValueError: the source is a gzipped tar, which has one order only.
    """
    if all(map(_is_packed, self.streams)):
      return self
    located = [photo for stream in self.streams for photo in stream.located()]
    order = np.random.default_rng(seed).permutation(len(located))
    return Source((Chosen(tuple(located[index] for index in order)),))

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


def _is_packed(stream: Any) -> bool:
  whole = stream.stream if isinstance(stream, shares.Share) else stream
  return isinstance(whole, packed.Shard)

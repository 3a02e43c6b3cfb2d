"""All photos of a data set as arrays: the permutation, and who is held out.

A keyed hash of each photo's key gives its place, so both depend on the seed and the
keys alone: not on the order of arrival, and not on the number of workers.
"""

import array
import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import xxhash

from im21k.dataset import records
from im21k.packing import external_shuffle
from im21k.photos import sources

_PHOTOS_PER_SHARD = 8192  # about 140 MB of photos with a short side of 256
_LEAST_SHARDS = 16  # so that many readers find work


@dataclasses.dataclass(frozen=True)
class Task:
  """A shard to write: its photos' rows in the table, keys and labels."""

  name: str
  rows: np.ndarray
  labels: np.ndarray
  keys: list[bytes]


def default_shards(photos: int) -> int:
  """Number of shards where nobody says it."""
  return max(_LEAST_SHARDS, -(-photos // _PHOTOS_PER_SHARD))


class Table:
  """Keys, labels and places of all photos, in 30 bytes a photo beside its key."""

  def __init__(
    self, keys: np.ndarray, ends: np.ndarray, labels: np.ndarray, places: np.ndarray
  ):
    self.labels = labels
    self._keys, self._ends = keys, ends
    self.places = places

  @classmethod
  def read(
    cls, entries: Iterable[sources.Entry], choice: external_shuffle.Choice
  ) -> tuple["Table", int]:
    """The table, and the number of photos that were left out with their class."""
    keys, places = bytearray(), bytearray()
    ends, labels = array.array("q"), array.array("i")
    left_out = 0
    place, latest, label = choice.placer(), "", None
    for name, synset, path in entries:
      if synset != latest:
        latest, label = synset, choice.label(synset, path)
      if label is None:
        left_out += 1
        continue
      key = name.encode("utf-8", "surrogateescape")
      keys += key
      ends.append(len(keys))
      labels.append(label)
      places += place(key)
    table = cls(
      np.frombuffer(keys, np.uint8),
      np.frombuffer(ends, np.int64),
      np.frombuffer(labels, np.int32),
      np.frombuffer(places, "<u8").reshape(-1, 2),
    )
    return table, left_out

  def __len__(self) -> int:
    return len(self.labels)

  def digest(self) -> str:
    """Changes when any key or label does."""
    digest = xxhash.xxh3_128(np.ascontiguousarray(self._keys).data)
    digest.update(np.ascontiguousarray(self.labels).data)
    return digest.hexdigest()

  def repeated(self) -> np.ndarray:
    """Mask of the photos whose key another had before them."""
    mask = np.zeros(len(self), bool)
    order = np.argsort(self.places[:, 0], kind="stable")
    same = self.places[order[1:], 0] == self.places[order[:-1], 0]
    for at in np.flatnonzero(same) + 1:
      if self.key(order[at]) == self.key(order[at - 1]):
        mask[order[at]] = True
    return mask

  def held_out(self, wanted: Callable[[int], int]) -> np.ndarray:
    """Mask of the photos to hold out: `wanted(class size)` of each class."""
    order = np.lexsort((self.places[:, 1], self.labels))
    sizes = np.bincount(self.labels)
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(order)) - starts[self.labels[order]]
    quota = np.array([wanted(size) for size in sizes.tolist()])
    mask = np.zeros(len(order), bool)
    mask[order] = rank < quota[self.labels[order]]
    return mask

  def named(self, keys: frozenset[bytes]) -> np.ndarray:
    """Mask of the photos with these keys."""
    return np.array([self.key(row) in keys for row in range(len(self))], bool)

  def shards(self, split: str, mask: np.ndarray, count: int | None) -> Iterator[Task]:
    """The tasks of a split: its photos in shuffled order, cut into equal shards."""
    chosen = np.flatnonzero(mask)
    order = chosen[np.argsort(self.places[chosen, 0], kind="stable")]
    # Equal hashes: one pair is likely among 14 million with chance 1e-5.
    for at in np.flatnonzero(np.diff(self.places[order, 0]) == 0):
      order[at : at + 2] = sorted(order[at : at + 2], key=self.key)
    names = self.shard_names(split, mask, count)
    cuts = np.arange(len(names) + 1) * len(order) // max(len(names), 1)
    for index, name in enumerate(names):
      rows = order[cuts[index] : cuts[index + 1]]
      yield Task(name, rows, self.labels[rows], self._keys_of(rows))

  def shard_names(self, split: str, mask: np.ndarray, count: int | None) -> list[str]:
    """Names of the shards of a split; `count` None lets the photos decide."""
    total = int(mask.sum())
    count = min(count or default_shards(total), total)
    return [records.shard_name(split, index, count) for index in range(count)]

  def _keys_of(self, rows: np.ndarray) -> list[bytes]:
    starts = np.where(rows > 0, self._ends[rows - 1], 0).tolist()
    view = self._keys.data
    spans = zip(starts, self._ends[rows].tolist(), strict=True)
    return [bytes(view[start:end]) for start, end in spans]

  def key(self, row: int) -> bytes:
    """The key of the photo in a row."""
    start = self._ends[row - 1] if row else 0
    return self._keys[start : self._ends[row]].tobytes()

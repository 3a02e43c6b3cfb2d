"""The permutation: a photo index and who is held out -> the photos of each shard."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from im21k.dataset import records
from im21k.packing.photo_index import PhotoIndex

_PHOTOS_PER_SHARD = 8192  # about 140 MB of photos with a short side of 256
_LEAST_SHARDS = 16  # so that many readers can work at once


@dataclasses.dataclass(frozen=True)
class ShardTask:
  """A shard to write: rows of the photo index `[n]`, in order; labels `[n]`; keys.

  `parts` is the number of each photo's source `[n]`; None where there is one source.
  """

  name: str
  rows: np.ndarray
  labels: np.ndarray
  keys: list[bytes]
  parts: np.ndarray | None = None


def default_shards(photos: int) -> int:
  """Number of shards for so many photos, where no option gives it."""
  return max(_LEAST_SHARDS, -(-photos // _PHOTOS_PER_SHARD))


class ShardPlan:
  """The shards of both splits.

  Attributes:
    counts: number of photos that each shard has room for, by its name.
    to_train, to_evaluate: number of photos that are not held out, and that are.
  """

  def __init__(
    self,
    index: PhotoIndex,
    held_out: Bool[np.ndarray, " n"],
    placed: Bool[np.ndarray, " n"],
    shards: int | None,
  ):
    """Plans so many train shards of the placed photos, by default `default_shards`."""
    self._splits = (
      ("train", ~held_out & placed, shards),
      ("eval", held_out & placed, None),
    )
    self._index = index
    self.to_train, self.to_evaluate = int(np.sum(~held_out)), int(np.sum(held_out))
    self.counts: dict[str, int] = {}
    for split, mask, count in self._splits:
      names, total = _names(split, mask, count), int(mask.sum())
      for i, name in enumerate(names):
        start, end = (total * j // len(names) for j in (i, i + 1))
        self.counts[name] = end - start

  def __iter__(self) -> Iterator[ShardTask]:
    for split, mask, count in self._splits:
      yield from shard_tasks(self._index, split, mask, count)


def shard_tasks(
  index: PhotoIndex, split: str, mask: Bool[np.ndarray, " n"], shards: int | None
) -> Iterator[ShardTask]:
  """The photos of a split in shuffled order, cut into shards of equal size."""
  order = _permutation(index, mask)
  names = _names(split, mask, shards)
  cuts = np.arange(len(names) + 1) * len(order) // max(len(names), 1)
  for i, name in enumerate(names):
    rows = order[cuts[i] : cuts[i + 1]]
    parts = None if index.parts is None else index.parts[rows]
    yield ShardTask(name, rows, index.labels[rows], index.keys(rows), parts)


def _permutation(
  index: PhotoIndex, mask: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, " k"]:
  """Rows of the masked photos in the order of their places."""
  chosen = np.flatnonzero(mask)
  order = chosen[np.argsort(index.places[chosen, 0], kind="stable")]
  # Equal hashes are ordered by key. Among 14 million photos, one pair has chance 1e-5.
  for at in np.flatnonzero(np.diff(index.places[order, 0]) == 0):
    order[at : at + 2] = sorted(order[at : at + 2], key=index.key)
  return order


def _names(split: str, mask: Bool[np.ndarray, " n"], shards: int | None) -> list[str]:
  total = int(mask.sum())
  count = min(shards or default_shards(total), total)
  return [records.shard_name(split, i, count) for i in range(count)]

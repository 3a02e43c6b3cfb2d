"""Position in the endless stream of examples -> number of a record.

Both orders are functions of seed and position alone. An epoch has each record once.
"""

import functools
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

# A disk of 170 MB/s and 9 ms a seek reads blocks of 64 MB at 98 % of its rate.
BLOCK_BYTES = 64 * 2**20
WINDOW = 8  # groups over which the records of a block are spread


class Global:
  """Each epoch is a random permutation of all records: every read is a seek."""

  def __init__(self, count: int, seed: int):
    """Orders `count` records."""
    self._args = count, seed
    self._order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()

  def __reduce__(self) -> tuple[Any, ...]:
    return Global, self._args

  def __getitem__(self, position: int) -> int:
    return int(self._order[position])

  def needs(self, position: int) -> list[range]:
    """No block is worth reading ahead."""
    return []


class Blockwise:
  """Blocks of neighbouring records in random order, mixed in a sliding window.

  A block is about 64 MB of a shard, read in sequence. Every epoch permutes the blocks
  of all shards. The records of a block are spread at random over `WINDOW` groups, of
  which the first has the block's own number; each group is shuffled. So each group
  needs one new block, and `WINDOW` blocks (512 MB) should stay in the page cache.
  Records that fit in such a window together are shuffled as a whole.
  """

  def __init__(
    self,
    counts: Sequence[int],
    sizes: Sequence[int],
    seed: int,
    block_bytes: int = BLOCK_BYTES,
  ):
    """Divides shards into blocks.

    Args:
      counts: number of records of each shard, in order.
      sizes: bytes of each shard.
      seed: seed of the order.
      block_bytes: approximate bytes of a block.
    """
    self._args = tuple(counts), tuple(sizes), seed, block_bytes
    self._seed = seed
    self.count = sum(counts)
    if sum(sizes) <= WINDOW * block_bytes:
      bounds = [0, self.count]
      self._window = 1
    else:
      bounds, first = [0], 0
      for count, size in zip(counts, sizes, strict=True):
        blocks = max(1, round(size / block_bytes))
        inner = np.linspace(first, first + count, blocks + 1).round().astype(int)
        bounds += np.unique(inner)[1:].tolist()
        first += count
      self._window = WINDOW
    self._starts, self._stops = np.array(bounds[:-1]), np.array(bounds[1:])
    # All groups of an epoch need its permutation, all examples of a group the group's.
    self._epoch = functools.lru_cache(2)(self._make_epoch)
    self._group = functools.lru_cache(16)(self._make_group)
    # First position and records of the group of the latest call.
    self._latest: tuple[int, np.ndarray] = 0, np.empty(0, int)

  def __reduce__(self) -> tuple[Any, ...]:
    return Blockwise, self._args

  def __getitem__(self, position: int) -> int:
    first, records = self._latest
    if not 0 <= position - first < len(records):
      epoch, group, place = self._find(position)
      first, records = self._latest = position - place, self._group(epoch, group)
    return int(records[position - first])

  def needs(self, position: int) -> list[range]:
    """The blocks of the group at this position and of the next, as ranges of records.

    They are in the order in which they are needed; the last is that of the next group.
    """
    if len(self._starts) == 1:
      return []
    epoch, group, _ = self._find(position)
    order, _ = self._epoch(epoch)
    blocks = order[max(0, group - self._window + 1) : group + 2].tolist()
    if group + 1 >= len(order):
      blocks.append(self._epoch(epoch + 1)[0][0])
    return [range(self._starts[block], self._stops[block]) for block in blocks]

  def _find(self, position: int) -> tuple[int, int, int]:
    """Epoch and group of a position, and its place in the group."""
    epoch, place = divmod(position, self.count)
    ends = self._epoch(epoch)[1]
    group = int(np.searchsorted(ends, place, side="right"))
    return epoch, group, place - (int(ends[group - 1]) if group else 0)

  def _make_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """The permutation of the blocks, and the end of each group in the epoch."""
    order = self._rng(epoch).permutation(len(self._starts))
    lengths = (self._stops - self._starts)[order]
    sizes = np.zeros(len(order) + self._window - 1, int)
    for part in range(self._window):
      sizes[part : part + len(order)] += -(-(lengths - part) // self._window)
    return order, sizes.cumsum()

  def _make_group(self, epoch: int, group: int) -> np.ndarray:
    order = self._epoch(epoch)[0]
    parts = [
      self._shuffled(epoch, order[group - part])[part :: self._window]
      for part in range(self._window)
      if 0 <= group - part < len(order)
    ]
    return self._rng(epoch, group).permutation(np.concatenate(parts))

  def _shuffled(self, epoch: int, block: int) -> np.ndarray:
    """Records of a block in random order; every `WINDOW`-th goes to the same group."""
    records = np.arange(self._starts[block], self._stops[block])
    return self._rng(epoch, int(block), 1).permutation(records)

  def _rng(self, *what: int) -> np.random.Generator:
    return np.random.default_rng((self._seed, *what))

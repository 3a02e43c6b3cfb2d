"""Position in the endless stream of examples -> record.

Both orders are functions of seed and position alone; an epoch holds each record once.
"""

import functools
from collections.abc import Sequence

import grain
import numpy as np

ORDERS = ("blockwise", "global")
# A disk of 170 MB/s and 9 ms a seek reads blocks of 64 MB at 98 % of its rate.
BLOCK_BYTES = 64 * 2**20
WINDOW = 8


class Global:
  """Each epoch in an order drawn over all records: every read is a seek."""

  def __init__(self, count: int, seed: int):
    self._args = count, seed
    self._order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()

  def __reduce__(self) -> tuple:
    return Global, self._args

  def __getitem__(self, position: int) -> int:
    return self._order[position]

  def needs(self, position: int) -> list[range]:
    """Nothing is worth reading ahead."""
    return []


class Blockwise:
  """Blocks of neighbouring records in a fresh order, mixed in a sliding window.

  A block is about 64 MB of a shard, read in one go. Every epoch the blocks of all
  shards change places, and the records of a block are dealt out, at random, over the
  `WINDOW` groups that begin with its own; a group, of parts of `WINDOW` blocks, is
  shuffled. So reading goes on by one block a group, and 8 blocks (512 MB) are worth
  keeping. Records that fit that window altogether are shuffled as a whole.
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
      counts: records of each shard, in order.
      sizes: bytes of each shard.
      seed: of the order.
      block_bytes: about so much is read in one go.
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
    # An epoch's orders are needed by all its groups, and a group by all its examples.
    self._epoch = functools.lru_cache(2)(self._make_epoch)
    self._group = functools.lru_cache(16)(self._make_group)
    # First position and records of the group that was asked for last.
    self._latest: tuple[int, np.ndarray] = 0, np.empty(0, int)

  def __reduce__(self) -> tuple:
    return Blockwise, self._args

  def __getitem__(self, position: int) -> int:
    first, records = self._latest
    if not 0 <= position - first < len(records):
      epoch, group, place = self._find(position)
      first, records = self._latest = position - place, self._group(epoch, group)
    return int(records[position - first])

  def needs(self, position: int) -> list[range]:
    """The blocks, as records, that the group at this position and the next consist of.

    In the order in which they are first needed.
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
    epoch, place = divmod(position, self.count)
    ends = self._epoch(epoch)[1]
    group = int(np.searchsorted(ends, place, side="right"))
    return epoch, group, place - (int(ends[group - 1]) if group else 0)

  def _make_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """The blocks' order, and where each group ends."""
    order = self._rng(epoch).permutation(len(self._starts))
    lengths = (self._stops - self._starts)[order]
    sizes = np.zeros(len(order) + self._window - 1, int)
    for part in range(self._window):
      sizes[part : part + len(order)] += -(-(lengths - part) // self._window)
    return order, sizes.cumsum()

  def _make_group(self, epoch: int, group: int) -> np.ndarray:
    order = self._epoch(epoch)[0]
    parts = [
      self._dealt(epoch, order[group - part])[part :: self._window]
      for part in range(self._window)
      if 0 <= group - part < len(order)
    ]
    return self._rng(epoch, group).permutation(np.concatenate(parts))

  def _dealt(self, epoch: int, block: int) -> np.ndarray:
    records = np.arange(self._starts[block], self._stops[block])
    return self._rng(epoch, int(block), 1).permutation(records)

  def _rng(self, *what: int) -> np.random.Generator:
    return np.random.default_rng((self._seed, *what))

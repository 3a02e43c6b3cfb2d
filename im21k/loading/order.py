"""Position in the endless stream of examples -> number of a record.

Both orders are functions of seed and position alone. An epoch has each record once.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from im21k.loading import pieces

# A disk of 170 MB/s and 9 ms a seek reads blocks of 64 MB at 98 % of its rate.
BLOCK_BYTES = 64 * 2**20
WINDOW = 8  # blocks of this size, mixed at a time
# Blocks into which that window may be divided: of 21 MB, read at 93 % of the rate.
_PARTS = 3 * WINDOW
_AHEAD = 1 / 4  # of the window, the most that is read ahead
_LEAST = 1 / 4  # of a block's bytes, however many lanes there are: 16 MB, at 91 %


class Needs(NamedTuple):
  """Blocks as ranges of records, each in the order in which they are needed.

  Attributes:
    now: those that the records come from.
    ahead: those that come next, at most one of each lane.
    remembered: how many need not be read again: two windows of the host's lanes, and
      what is read ahead. Older ones may have left the cache.
  """

  now: list[range]
  ahead: list[range]
  remembered: int


class Global:
  """Each epoch is a random permutation of all records: every read is a seek."""

  has_lanes = False

  def __init__(self, count: int, seed: int):
    """Orders `count` records."""
    self._args = count, seed
    self._order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()

  def __reduce__(self) -> tuple[Any, ...]:
    return Global, self._args

  def __getitem__(self, position: int) -> int:
    return int(self._order[position])

  def needs(self, positions: range) -> Needs:
    """No block is worth reading ahead."""
    return Needs([], [], 0)


class _Group(NamedTuple):
  """Consecutive turns of a lane.

  Attributes:
    turn: the first.
    records: one for each turn.
    blocks: those that they come from.
    next: the block that the lane needs after these.
  """

  turn: int
  records: np.ndarray
  blocks: list[range]
  next: range


class Blockwise:
  """Blocks of neighbouring records in random order, mixed in sliding windows.

  Position p of the stream is turn p // `lanes` of lane p % `lanes`. Every epoch
  permutes the blocks of all shards, and cuts the records in that order into a piece for
  each lane, as long as the lane has turns in this epoch; so a block at a cut is divided
  between two lanes. The records of a block are spread at random over a lane's window of
  groups, of which the first has the block's own place; each group is shuffled. So each
  group of a lane needs one new block. The lanes need theirs in turn: a block near the
  beginning of each piece is divided for this, and its rest comes last.

  Hosts whose number divides that of the lanes have lanes of their own, wherever a batch
  begins, and read no record of the others.

  All windows together are 512 MB whatever the lanes: with one lane 8 blocks of 64 MB;
  with 2 to 24 lanes 24 blocks or fewer of at least 21 MB; with 24, by default, one for
  each lane. At most 128 MB are read ahead. A block's records are spread over as much of
  the stream in every case, and neighbours come from more blocks the more lanes there
  are. Beyond 32 lanes, blocks stay 16 MB and the windows grow.

  Records that fit in such a window together are shuffled as a whole, without lanes.
  """

  def __init__(
    self,
    counts: Sequence[int],
    sizes: Sequence[int],
    seed: int,
    block_bytes: int = BLOCK_BYTES,
    lanes: int = 1,
  ):
    """Divides shards into blocks.

    Args:
      counts: number of records of each shard, in order.
      sizes: bytes of each shard.
      seed: seed of the order.
      block_bytes: approximate bytes of a block, of which `WINDOW` are mixed; with more
        lanes blocks are smaller, and as many bytes are mixed.
      lanes: parts of the stream with blocks of their own.
    """
    self._args = tuple(counts), tuple(sizes), seed, block_bytes, lanes
    self._seed = seed
    self.count = sum(counts)
    self.has_lanes = sum(sizes) > WINDOW * block_bytes
    if self.has_lanes:
      self._lanes, self._window = lanes, max(1, min(WINDOW, _PARTS // lanes))
      share = max(WINDOW / (lanes * self._window), _LEAST)
      blocks = pieces.divided(counts, sizes, block_bytes * share)
    else:
      self._lanes, self._window = 1, 1
      blocks = pieces.Blocks(np.array([0]), np.array([self.count]))
    self._pieces = pieces.Pieces(blocks, self._lanes, self._window, self._rng)
    # All examples of a group need it.
    self._group = functools.lru_cache(max(16, 4 * self._lanes))(self._make_group)
    # Of each lane, that of the latest call.
    none = _Group(0, np.empty(0, int), [], range(0))
    self._latest = [none] * self._lanes

  def __reduce__(self) -> tuple[Any, ...]:
    return Blockwise, self._args

  def __getitem__(self, position: int) -> int:
    turn, lane = divmod(position, self._lanes)
    first, records, _, _ = self._latest[lane]
    if not 0 <= turn - first < len(records):
      first, records, _, _ = self._find(turn, lane)
    return int(records[turn - first])

  def needs(self, positions: range) -> Needs:
    """The blocks of the records at these positions, and the next of their lanes.

    Args:
      positions: those of a host in a batch: their step divides the number of lanes.
    """
    if not self.has_lanes:
      return Needs([], [], 0)
    now: dict[range, None] = {}
    early = _AHEAD * self._window
    ahead: list[tuple[int, range]] = []
    lanes = self._lanes // positions.step
    for position in positions[:lanes]:
      turn, lane = divmod(position, self._lanes)
      last = turn + (positions[-1] - position) // self._lanes
      while turn <= last:
        group = self._latest[lane]
        if not 0 <= turn - group.turn < len(group.records):
          group = self._find(turn, lane)
        now.update(dict.fromkeys(group.blocks))
        turn = group.turn + len(group.records)
      # A window of one block has the next one read when a quarter of it is left.
      if turn - 1 - last <= early * len(group.next) or early >= 1:
        ahead.append((turn, group.next))
    ahead.sort(key=lambda one: one[0])  # The lane that needs it first comes first.
    remembered = 2 * (self._window + 1) * lanes + 2
    return Needs(list(now), [block for _, block in ahead], remembered)

  def _find(self, turn: int, lane: int) -> _Group:
    """The group of a turn."""
    epoch, piece = self._pieces.at(turn, lane)
    group = int(np.searchsorted(piece.ends, turn - piece.turn, side="right"))
    found: _Group = self._group(epoch, lane, group)
    self._latest[lane] = found
    return found

  def _make_group(self, epoch: int, lane: int, group: int) -> _Group:
    piece = self._pieces.get(epoch, lane)
    count = len(piece.numbers)
    parts = [
      self._shuffled(epoch, lane, group - part)[part :: self._window]
      for part in range(self._window)
      if 0 <= group - part < count
    ]
    records = self._rng(epoch, group, *self._of_lane(2, lane)).permutation(
      np.concatenate(parts)
    )
    within = range(max(0, group - self._window + 1), min(group + 1, count))
    return _Group(
      piece.turn + int(piece.ends[group]) - len(records),
      records,
      [piece.block(index) for index in within],
      self._next(piece, lane, group),
    )

  def _next(self, piece: pieces.Piece, lane: int, group: int) -> range:
    """The block of the group that follows, or the first of the lane's next piece."""
    if group + 1 < len(piece.numbers):
      return piece.block(group + 1)
    turn = piece.turn + int(piece.ends[-1])
    return self._pieces.at(turn, lane)[1].block(0)

  def _shuffled(self, epoch: int, lane: int, index: int) -> np.ndarray:
    """Records of a block in random order: of `window`, each goes to another group."""
    piece = self._pieces.get(epoch, lane)
    records = np.arange(piece.starts[index], piece.stops[index])
    # Of one lane blocks are whole, and their numbers were what seeds were made of.
    one = piece.starts[index] if self._lanes > 1 else piece.numbers[index]
    return self._rng(epoch, int(one), 1, *self._of_lane(lane)).permutation(records)

  def _of_lane(self, *what: int) -> tuple[int, ...]:
    """Further numbers of a seed, where there are several lanes."""
    return what if self._lanes > 1 else ()

  def _rng(self, *what: int) -> np.random.Generator:
    return np.random.default_rng((self._seed, *what))

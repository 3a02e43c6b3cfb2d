"""The blocks of all shards -> those that each lane has in an epoch, in its order.

Lane l of the stream has its positions p with p % lanes = l, the turns of the lane. An
epoch has as many positions as there are records, wherever it begins.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Blocks(NamedTuple):
  """Blocks of neighbouring records; `starts` and `stops` are those of each."""

  starts: np.ndarray
  stops: np.ndarray


def divided(counts: Sequence[int], sizes: Sequence[int], wanted: float) -> Blocks:
  """Shards of so many records and bytes in blocks of about `wanted` bytes."""
  bounds, first = [0], 0
  for count, size in zip(counts, sizes, strict=True):
    blocks = max(1, round(size / wanted))
    inner = np.linspace(first, first + count, blocks + 1).round().astype(int)
    bounds += np.unique(inner)[1:].tolist()
    first += count
  return Blocks(np.array(bounds[:-1]), np.array(bounds[1:]))


class Piece(NamedTuple):
  """A lane's blocks of an epoch; the first and the last may be parts of a block.

  Attributes:
    numbers: of the blocks.
    starts, stops: their records.
    turn: at which the piece begins.
    ends: turns up to the end of each group.
  """

  numbers: np.ndarray
  starts: np.ndarray
  stops: np.ndarray
  turn: int
  ends: np.ndarray

  def block(self, index: int) -> range:
    """The records of a block."""
    return range(int(self.starts[index]), int(self.stops[index]))


class _Epoch(NamedTuple):
  """All blocks in the order of an epoch, cut into a piece for each lane.

  Attributes:
    numbers: of the blocks.
    ends: records up to the end of each.
    turns: of each lane, at which its piece begins.
    cuts: records before each piece; the last is the number of all.
  """

  numbers: np.ndarray
  ends: np.ndarray
  turns: np.ndarray
  cuts: np.ndarray


class Pieces:
  """The piece of each lane in each epoch; every record is in one of an epoch's.

  Each epoch permutes the blocks, and is cut into pieces as long as the lanes have turns
  in it. So a block at a cut is divided between two lanes.
  """

  def __init__(
    self,
    blocks: Blocks,
    lanes: int,
    window: int,
    rng: Callable[..., np.random.Generator],
  ):
    """Prepares to divide.

    Args:
      blocks: all blocks.
      lanes: number of lanes.
      window: groups over which the records of a block are spread.
      rng: by the number of an epoch.
    """
    self._blocks, self._lanes, self._window, self._rng = blocks, lanes, window, rng
    self._count = int(blocks.stops[-1])
    self._epoch = functools.lru_cache(2)(self._make_epoch)
    self.get = functools.lru_cache(3 * lanes)(self._make)

  def at(self, turn: int, lane: int) -> tuple[int, Piece]:
    """Number of the epoch of a turn, and the lane's piece of it."""
    epoch = (turn * self._lanes + lane) // self._count
    return epoch, self.get(epoch, lane)

  def _make_epoch(self, epoch: int) -> _Epoch:
    numbers = self._rng(epoch).permutation(len(self._blocks.starts))
    ends = (self._blocks.stops - self._blocks.starts)[numbers].cumsum()
    # Turns of each lane before this epoch, and before the next.
    lanes = np.arange(self._lanes)
    turns, after = (
      -((lanes - first) // self._lanes)
      for first in (epoch * self._count, (epoch + 1) * self._count)
    )
    return _Epoch(numbers, ends, turns, np.cumsum([0, *(after - turns)]))

  def _make(self, epoch: int, lane: int) -> Piece:
    whole = self._epoch(epoch)
    start, stop = whole.cuts[lane : lane + 2]
    first = np.searchsorted(whole.ends, start, side="right")
    last = np.searchsorted(whole.ends, stop, side="left")
    numbers = whole.numbers[first : last + (start < stop)]
    starts, stops = self._blocks.starts[numbers], self._blocks.stops[numbers]
    if len(numbers):
      starts[0] = stops[0] - (whole.ends[first] - start)
      stops[-1] -= whole.ends[last] - stop
    if self._lanes > 1:
      numbers, starts, stops = self._staggered(lane, numbers, starts, stops)
    sizes = np.zeros(len(numbers) + self._window - 1, int)
    for part in range(self._window):
      sizes[part : part + len(numbers)] += -(-(stops - starts - part) // self._window)
    return Piece(numbers, starts, stops, int(whole.turns[lane]), sizes.cumsum())

  def _staggered(
    self, lane: int, numbers: np.ndarray, starts: np.ndarray, stops: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A piece with one block divided: its rest comes last, those behind it earlier.

    Blocks are much the same length, so that each lane goes on needing one at another
    time than the other lanes, wherever the cuts are.
    """
    ends = (stops - starts).cumsum()
    wanted = (lane + 1) * self._count // (len(self._blocks.starts) * self._lanes)
    index = int(np.searchsorted(ends, wanted))
    rest = int(ends[index]) - wanted if index < len(ends) and wanted else 0
    if not rest:
      return numbers, starts, stops
    start = int(starts[index])
    starts[index] += rest
    return (
      np.append(numbers, numbers[index]),
      np.append(starts, start),
      np.append(stops, start + rest),
    )

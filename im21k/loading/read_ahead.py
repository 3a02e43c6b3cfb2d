"""Reads blocks of records into the page cache before they are needed.

Blocks are read in sequence by one thread and dropped: the page cache keeps their bytes
for every thread and process of the machine, and frees them when memory is short.
"""

import collections
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

# Records per call: their bytes are in memory until they are dropped.
_RECORDS = 64


class ReadAhead:
  """The blocks that one thread has read recently or is going to read."""

  def __init__(self, read: Callable[[range], object]):
    """Takes a function that reads a range of records."""
    self._read = read
    self._thread: ThreadPoolExecutor | None = None
    self._blocks: collections.OrderedDict[range, Future[None]] = (
      collections.OrderedDict()
    )
    self._lock = threading.Lock()

  def wait_for(self, now: list[range], ahead: list[range], remembered: int) -> None:
    """Schedules the blocks that are not read yet, and waits for those needed now.

    Args:
      now: those that are waited for.
      ahead: others, which are read in the background.
      remembered: how many of the latest blocks are not read again.
    """
    with self._lock:
      self._thread = self._thread or ThreadPoolExecutor(1, "read-ahead")
      for block in (*now, *ahead):
        if block not in self._blocks:
          self._blocks[block] = self._thread.submit(self._read_block, block)
        self._blocks.move_to_end(block)
      while len(self._blocks) > remembered:
        self._blocks.popitem(last=False)
      waiting = [self._blocks[block] for block in now]
    for future in waiting:
      future.result()

  def _read_block(self, block: range) -> None:
    for start in range(block.start, block.stop, _RECORDS):
      self._read(range(start, min(start + _RECORDS, block.stop)))

"""Reads blocks of records before they are needed, one after another, as a tape is read.

What is read is thrown away: the system keeps it in its cache of files, where every
thread and process of the machine finds it, and gives it up when memory is short.
"""

import collections
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

# Records asked for at a time: their bytes are in memory until they are thrown away.
_AT_A_TIME = 64
# Blocks: two windows and what is begun. Older ones may have left the cache again.
_REMEMBERED = 20


class ReadAhead:
  """Blocks that were read lately, or are to be read, in one thread."""

  def __init__(self, read: Callable[[range], object]):
    """`read` brings a range of records into the cache of files."""
    self._read = read
    self._thread: ThreadPoolExecutor | None = None
    self._blocks: collections.OrderedDict[range, Future] = collections.OrderedDict()
    self._lock = threading.Lock()

  def wait_for(self, blocks: list[range]) -> None:
    """Orders what is not there yet, and waits for all but the last.

    The last is that of the next group; reading it goes on meanwhile.
    """
    with self._lock:
      self._thread = self._thread or ThreadPoolExecutor(1, "read-ahead")
      for block in blocks:
        if block not in self._blocks:
          self._blocks[block] = self._thread.submit(self._read_block, block)
        self._blocks.move_to_end(block)
      while len(self._blocks) > _REMEMBERED:
        self._blocks.popitem(last=False)
      waiting = [self._blocks[block] for block in blocks[:-1]]
    for future in waiting:
      future.result()

  def _read_block(self, block: range) -> None:
    for start in range(block.start, block.stop, _AT_A_TIME):
      self._read(range(start, min(start + _AT_A_TIME, block.stop)))

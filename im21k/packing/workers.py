"""Runs tasks in processes of this machine.

The processes share counts for the progress bar, and a lock for long
sequential reads and writes, so that a hard disk does not seek between two of them.
"""

import collections
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

_FLUSH = 64  # photos between two updates of the shared counts


@dataclasses.dataclass(frozen=True)
class Shared:
  """What processes share.

  Attributes:
    counts: numbers of photos, bytes, and rejected photos.
    counting, disk: the lock of the counts, and that of the disk.
  """

  counts: Any
  counting: Any
  disk: Any

  @classmethod
  def of(cls, workers: int) -> "Shared":
    """Counts at zero, and locks, for so many workers."""
    if workers == 1:
      return cls([0, 0, 0], threading.Lock(), threading.Lock())
    context = _context()
    with _explain_no_workers():
      return cls(context.RawArray("q", 3), context.Lock(), context.Lock())


_shared: Shared | None = None


class PhotoCounter:
  """Counts the photos of a task, and now and then adds them to the shared counts."""

  def __init__(self) -> None:
    self._photos = self._bytes = self._rejected = 0

  def add(self, size: int, rejected: bool = False) -> None:
    """Counts a photo of `size` bytes."""
    self._photos += 1
    self._bytes += size
    self._rejected += rejected
    if self._photos == _FLUSH:
      self.flush()

  def flush(self) -> None:
    """Adds what was counted since the last call to the shared counts."""
    if _shared:
      with _shared.counting:
        for i, more in enumerate((self._photos, self._bytes, self._rejected)):
          _shared.counts[i] += more
    self._photos = self._bytes = self._rejected = 0


def disk_lock() -> contextlib.AbstractContextManager[Any]:
  """Lock that the workers of a machine hold while they read or write in sequence."""
  return _shared.disk if _shared else contextlib.nullcontext()


def run_local(
  function: Callable[[Any], Any],
  tasks: Iterable[Any],
  workers: int,
  shared: Shared | None = None,
) -> Iterator[Any]:
  """Yields `function(task)` in the tasks' order; two tasks a worker are queued.

  All workers have ended when it has: those that still work after an error, or because
  nobody asks for more, are ended.

  Raises:
    ChildProcessError: a worker process was killed.
    OSError: there can be no worker processes; the message says why.
  """
  if workers == 1:
    _share(shared)
    try:
      yield from map(function, tasks)
    finally:
      _share(None)
    return
  with _explain_no_workers():
    _start_server()
    context = _context()
    # Workers end when the other end is closed: by this process, or by its death.
    lifeline, end = context.Pipe(duplex=False)
    pool = futures.ProcessPoolExecutor(
      workers, mp_context=context, initializer=_start, initargs=(shared, lifeline)
    )
  waiting: collections.deque[futures.Future[Any]] = collections.deque()
  try:
    for task in tasks:
      with _undisturbed(), _explain_no_workers():
        waiting.append(pool.submit(function, task))
      if len(waiting) >= 2 * workers:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
    # Not before the last worker has started: it would miss the shared locks.
    pool.shutdown()
  except BrokenProcessPool as error:
    raise ChildProcessError(
      "a worker process was killed, perhaps because memory ran out: repeat the "
      "command, with fewer --workers"
    ) from error
  finally:
    end.close()
    pool.shutdown(cancel_futures=True)
    lifeline.close()


def _context() -> Any:
  # Not fork, which does not copy threads that JAX may have started.
  return multiprocessing.get_context("forkserver")


def _start_server() -> None:
  """Starts the process that starts the workers, deaf to Ctrl-C as they are."""
  # Ctrl-C reaches all processes of a terminal; the first one says what there is to say.
  multiprocessing.resource_tracker.ensure_running()
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    multiprocessing.forkserver.ensure_running()
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _explain_no_workers() -> Iterator[None]:
  try:
    yield
  except BrokenProcessPool:
    raise
  except (OSError, EOFError, NotImplementedError) as error:
    reason = getattr(error, "strerror", None) or str(error)
    raise ChildProcessError(
      f"worker processes cannot be started ({reason}): /dev/shm must be writable and "
      "have free space (docker run --shm-size=64m), and limits on processes and files "
      "(ulimit -u, -n) must allow them; or give --workers 1"
    ) from error


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
  """Delays Ctrl-C and the like: a worker, half started, would be known to nobody."""
  if threading.current_thread() is not threading.main_thread():
    yield  # Where no handler is called.
    return
  numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  handlers: dict[int, Any] = {
    number: handler
    for number in numbers
    if callable(handler := signal.getsignal(number))
  }
  arrived: list[tuple[int, Any]] = []
  for number in handlers:
    signal.signal(number, lambda *signaled: arrived.append(signaled))
  try:
    yield
  finally:
    for number, handler in handlers.items():
      signal.signal(number, handler)
    for number, frame in arrived:
      handlers[number](number, frame)


def _start(shared: Shared | None, lifeline: Connection) -> None:
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
  _share(shared)


def _end_with(lifeline: Connection) -> None:
  with contextlib.suppress(EOFError, OSError):
    lifeline.recv()
  os._exit(1)


def _share(shared: Shared | None) -> None:
  global _shared
  _shared = shared

"""Items that are listed one by one -> what a function makes of each, made ahead.

One thread lists, others work; results come in the order of the list.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

_PATIENCE = 0.2  # seconds without another item, after which None says so

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(
  items: Iterable[Item], make: Callable[[Item], Made], threads: int
) -> Iterator[Made | None]:
  """What `make` returns for each item, in order; None whenever the list is slow.

  Only three for each thread are in memory. What the list or `make` raises is raised
  here.

  Args:
    items: may wait, as a pipe does; listed by a thread.
    make: called by threads.
    threads: that call it.
  """
  pool = futures.ThreadPoolExecutor(threads, "ahead")
  made: queue.Queue[futures.Future[Made] | Exception | None] = queue.Queue(2 * threads)
  stopped = threading.Event()

  def submit() -> None:
    try:
      for item in items:
        made.put(pool.submit(make, item))
        if stopped.is_set():
          return
      made.put(None)
    except Exception as error:
      made.put(error)

  # It may wait for a pipe for ever: nobody waits for it.
  threading.Thread(target=submit, name="list", daemon=True).start()
  try:
    while True:
      try:
        one = made.get(timeout=_PATIENCE)
      except queue.Empty:
        yield None
        continue
      if one is None:
        return
      if isinstance(one, Exception):
        raise one
      yield one.result()
  finally:
    stopped.set()
    pool.shutdown(wait=False, cancel_futures=True)
    while not made.empty():  # Room, so that the thread that lists sees that it ends.
      made.get_nowait()

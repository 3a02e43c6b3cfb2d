"""What this process may use of its machine, and worker processes that end with it."""

import multiprocessing
import os
import resource
import sys
import threading

MOST_WORKERS = 1024  # processes or threads that a user may ask for


def cores() -> int:
  """Cores that this process may use, by its affinity, not those of the machine."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def memory() -> int:
  """Bytes of memory that are installed."""
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory() -> int:
  """Bytes of memory that this process has had at most, without its workers."""
  unit = 1 if sys.platform == "darwin" else 1024
  return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def die_with_parent() -> None:
  """Ends a worker when its parent is killed: else it would work beside the next run."""
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def wait() -> None:
    parent.join()
    os._exit(1)

  threading.Thread(target=wait, daemon=True).start()

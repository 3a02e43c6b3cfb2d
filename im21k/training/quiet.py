"""What orbax reports besides what it raises -> silence.

It logs every step of a save, and each error with its traceback. When it cannot read or
write a checkpoint it raises the first error and forgets the tasks for other arrays.
These report errors of their own later: through the logger of asyncio, as exceptions
that Python ignores, and as warnings of coroutines never awaited; some 100 kB.
"""

import asyncio
import logging
import sys
import types
import warnings
from typing import Any

# "Task …", "Future …", "_GatheringFuture …"
_MESSAGES = ("exception was never retrieved", "Task was destroyed but it is pending")
_PLACES = ("orbax", "tensorstore")


def silence() -> None:
  """From now on drops this; errors that are raised stay as they are."""
  logging.getLogger("absl").setLevel(logging.CRITICAL)
  logger = logging.getLogger("asyncio")
  if _is_no_orphans not in logger.filters:
    logger.addFilter(_is_no_orphans)
  warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
  if not isinstance(sys.unraisablehook, _Hook):
    sys.unraisablehook = _Hook(sys.unraisablehook)


def _is_no_orphans(record: logging.LogRecord) -> bool:
  return not any(message in record.getMessage() for message in _MESSAGES)


class _Hook:
  """An unraisable hook that drops what comes of such a task."""

  def __init__(self, before: Any):
    self._before = before

  def __call__(self, unraisable: Any) -> None:
    source, error = unraisable.object, unraisable.exc_value
    closed = isinstance(error, RuntimeError) and "loop is closed" in str(error)
    if not ((source is None and closed) or _is_of_orbax(source)):
      self._before(unraisable)


def _is_of_orbax(source: object) -> bool:
  if isinstance(source, asyncio.Task):
    source = source.get_coro()
  if isinstance(source, types.CoroutineType):
    return any(place in source.cr_code.co_filename for place in _PLACES)
  return False

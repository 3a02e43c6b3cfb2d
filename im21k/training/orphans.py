"""What orbax leaves behind when it cannot read a checkpoint -> silence.

It opens all arrays at once, raises the first error and forgets the other tasks. These
later report errors of their own: through the logger of asyncio, as exceptions that
Python ignores, and as warnings of coroutines that were never awaited; some 100 kB.
"""

import asyncio
import logging
import sys
import types
import warnings
from typing import Any

_MESSAGES = ("Task exception was never", "Task was destroyed", "Future exception was")
_PLACES = ("orbax", "tensorstore")


def silence() -> None:
  """From now on drops what such tasks report; call it once an error is in hand."""
  logger = logging.getLogger("asyncio")
  if _is_no_orphans not in logger.filters:
    logger.addFilter(_is_no_orphans)
  warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
  if not isinstance(sys.unraisablehook, _Hook):
    sys.unraisablehook = _Hook(sys.unraisablehook)


def _is_no_orphans(record: logging.LogRecord) -> bool:
  return not record.getMessage().startswith(_MESSAGES)


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

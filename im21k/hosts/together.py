"""Batches that each host reads for itself, but all compute together."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from im21k.hosts import session


def in_step(
  batches: Iterable[tuple[Any, list[Any]]], filler: Callable[[], Any]
) -> Iterator[tuple[Any, list[Any]]]:
  """Batches of this host with what is in each; empty ones while others have more.

  Args:
    batches: of this host.
    filler: makes an empty one.
  """
  watch = session.current()
  if watch is None:
    yield from batches
    return
  left = iter(batches)
  while True:
    batch = next(left, None)
    if not any(watch.gather("photos left", batch is not None)):
      return
    yield batch or (filler(), [])

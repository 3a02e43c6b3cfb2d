"""Seconds of training, without the pauses in it: what rows and checkpoints hold."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import jax


class Clock:
  """Seconds spent on training itself: evaluation, saving and compilation do not count.

  Attributes:
    train_secs: so far, over all restarts.
    data_secs: the part of these spent waiting for data.
  """

  def __init__(
    self,
    before: Mapping[str, float] | None = None,
    now: Callable[[], float] = time.perf_counter,
  ) -> None:
    """Starts at 0, or continues from the `state` of a clock before."""
    before = before or {"train_secs": 0.0, "data_secs": 0.0}
    self.train_secs, self.data_secs = before["train_secs"], before["data_secs"]
    self._now = now
    self._since = now()

  def tick(self) -> None:
    """Brings `train_secs` up to now."""
    now = self._now()
    self.train_secs += now - self._since
    self._since = now

  @contextlib.contextmanager
  def pause(self, name: str) -> Iterator[None]:
    """Time in this context does not count; a profile shows it under `name`."""
    self.tick()
    with jax.profiler.TraceAnnotation(name):
      yield
    self._since = self._now()

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Time in this context counts, as time spent waiting for data."""
    start = self._now()
    yield
    self.data_secs += self._now() - start

  def state(self) -> dict[str, float]:
    """What a checkpoint keeps."""
    return {"train_secs": self.train_secs, "data_secs": self.data_secs}

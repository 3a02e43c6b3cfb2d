"""What the hosts of a run do together: stop after the same step, count bad photos.

The wish to stop and news of bad photos travel with each step as numbers that are summed
over all devices. All hosts look at those of the same step, some steps later, so that no
step waits for them; and so all do the same after it.
"""

import collections
from typing import Any

import jax
import numpy as np

from im21k import parallel
from im21k.hosts.watch import Watch
from im21k.training.batches import Batches
from im21k.training.signals import StopSignals

NOTES = "notes"  # In a batch, and in what a step measures.
_LAG = 2  # Steps.


class Joint:
  """One host of one or several.

  Attributes:
    stop: whether all stop after the step that was taken last.
    bad: records of the stream so far that were replaced, on any host.
  """

  def __init__(self, signals: StopSignals, batches: Batches, on: Any, watch: Any):
    """Begins before a step.

    Args:
      signals: of this host.
      batches: of this host.
      on: its devices.
      watch: over the other hosts; None: there are none.
    """
    self._signals, self._batches, self._on = signals, batches, on
    self._watch: Watch | None = watch
    self._stop = False
    self._bad, self._told = set[int](), set[int]()
    self._waiting: collections.deque[Any] = collections.deque()

  @property
  def stop(self) -> bool:
    """Whether to stop: on several hosts, whether all do."""
    return self._stop if self._watch else self._signals.stop

  @property
  def bad(self) -> set[int]:
    """Records that were replaced."""
    return self._bad if self._watch else self._batches.bad

  def send(self, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with what this host has to say."""
    if not self._watch:
      return batch
    notes = np.zeros((len(self._on), 2), np.float32)
    notes[0] = self._signals.stop, len(self._batches.bad - self._told) > 0
    return {**batch, NOTES: jax.device_put(notes, parallel.divided(self._on))}

  def took(self, step: int, measured: dict[str, Any]) -> dict[str, Any]:
    """What a step measured, without the notes, of which old ones are heeded."""
    if not self._watch:
      return measured
    self._watch.step = step
    measured = dict(measured)
    self._waiting.append(measured.pop(NOTES))
    while len(self._waiting) > _LAG:
      self._heed(self._waiting.popleft())
    return measured

  def settle(self) -> None:
    """Heeds all notes: before something that all hosts do together."""
    while self._waiting:
      self._heed(self._waiting.popleft())

  def _heed(self, notes: Any) -> None:
    stop, bad = jax.device_get(notes).tolist()
    self._stop = self._stop or stop > 0
    if bad > 0 and self._watch:
      new = sorted(self._batches.bad - self._told)
      self._told |= set(new)
      for records in self._watch.gather("the bad photos", new):
        self._bad |= set(map(int, records))
      self._batches.check_bad(self._bad)

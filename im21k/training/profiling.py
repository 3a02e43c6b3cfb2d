"""A few steps of a run -> a trace for xprof or perfetto."""

import contextlib
from pathlib import Path

import jax

# After compilation, and when the loader has settled.
_FIRST, _COUNT = 3, 5


class Profiler(contextlib.ExitStack):
  """Traces five steps, from the fourth of a process on, into a folder; None: none."""

  def __init__(self, folder: Path | None):
    super().__init__()
    self._folder = folder

  def before_step(self, index: int) -> None:
    """Starts or ends the trace; `index` counts the steps of this process."""
    if self._folder and index == _FIRST:
      trace = jax.profiler.trace(str(self._folder), create_perfetto_trace=True)
      self.enter_context(trace)
    elif index == _FIRST + _COUNT:
      self.close()

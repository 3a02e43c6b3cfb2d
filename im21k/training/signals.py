"""SIGTERM and SIGINT -> a request to stop after the step that is being taken."""

import signal
import sys


class StopSignals:
  """Inside this context a first signal sets `stop`; a second one kills as usual."""

  def __init__(self) -> None:
    self.stop = False

  def __enter__(self) -> "StopSignals":
    self._before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    for number in self._before:
      signal.signal(number, self._receive)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _receive(self, number: int, _: object) -> None:
    print(f"{signal.Signals(number).name}: saving, then stopping", file=sys.stderr)
    self.stop = True
    signal.signal(number, self._before[signal.Signals(number)])

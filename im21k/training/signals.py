"""SIGTERM and SIGINT -> a request to stop after the step that is being taken."""

import signal

from im21k.training.outputs import say


class StopSignals:
  """Inside this context a first signal sets `stop`; a second one kills at once.

  Attributes:
    received: name of the first signal; None: there was none.
  """

  def __init__(self) -> None:
    self.received: str | None = None

  @property
  def stop(self) -> bool:
    """Whether to stop."""
    return self.received is not None

  def __enter__(self) -> "StopSignals":
    self._before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    for number in self._before:
      signal.signal(number, self._receive)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _receive(self, number: int, _: object) -> None:
    self.received = signal.Signals(number).name
    # The next one ends the process without a wait for what is being saved, compiled or
    # read: what is on the disk stays whole.
    for each in self._before:
      signal.signal(each, signal.SIG_DFL)
    say(f"{self.received}: saving, then stopping; a second one kills")

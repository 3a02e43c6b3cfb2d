"""A first signal asks for an end; a second is received as usual."""

import signal

import pytest

from im21k.training.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_is_as_usual(number, capsys):
  received = []
  before = signal.signal(number, lambda *_: received.append(number))
  try:
    with StopSignals() as signals:
      assert not signals.stop
      signal.raise_signal(number)
      assert signals.stop and not received
      assert f"{number.name}: saving, then stopping" in capsys.readouterr().err
      signal.raise_signal(number)
      assert received == [number]
    signal.raise_signal(number)
    assert received == [number] * 2, "afterwards all is as before"
  finally:
    signal.signal(number, before)

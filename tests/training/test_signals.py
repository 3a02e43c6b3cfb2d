"""A first signal asks for an end; a second ends the process at once."""

import signal
import subprocess
import sys

import pytest

from im21k.training.signals import StopSignals

TWO = """
import signal, sys
from im21k.training.signals import StopSignals
with StopSignals() as signals:
  signal.raise_signal(int(sys.argv[1]))
  print(signals.received, flush=True)
  signal.raise_signal(int(sys.argv[2]))
  print("not reached")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_afterwards_all_is_as_before(number, capsys):
  received = []
  before = signal.signal(number, lambda *_: received.append(number))
  try:
    with StopSignals() as signals:
      assert not signals.stop and signals.received is None
      signal.raise_signal(number)
      assert signals.stop and not received and signals.received == number.name
      assert f"{number.name}: saving, then stopping" in capsys.readouterr().err
    signal.raise_signal(number)
    assert received == [number]
  finally:
    signal.signal(number, before)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_kills_at_once(first):
  """Whichever it is, and without Python's own KeyboardInterrupt."""
  words = [sys.executable, "-c", TWO, str(int(first)), str(int(signal.SIGINT))]
  done = subprocess.run(words, capture_output=True, text=True, check=False)
  assert done.returncode == -signal.SIGINT and done.stdout == f"{first.name}\n"
  assert done.stderr.endswith(
    f" {first.name}: saving, then stopping; a second one kills\n"
  )

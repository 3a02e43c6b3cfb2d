"""Child processes of `gpu.py`: messages of JSON both ways, within a time limit.

A child prints a message as a line that begins with `MARK`; all else that it prints goes
to its log. Every child is a process group of its own, and none outlives this process.
"""

import atexit
import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "@@ "
# What libraries of CUDA and XLA say at every start.
_CHATTER = re.compile(r"[IW]\d{4} |WARNING: All log messages")
_alive: set["Child"] = set()
_closed = threading.Event()


class Failed(Exception):
  """Why a figure is missing, in one line."""


class Child:
  """A process that is asked and answers.

  Attributes:
    name: for reasons.
    log: file of what it prints besides messages.
  """

  def __init__(
    self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
  ):
    if _closed.is_set():
      raise Failed(f"{name}: not started, for the benchmark was stopped")
    self.name, self.log = name, log
    self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
    self._file = log.open("a", encoding="utf-8", errors="replace")
    self._process = subprocess.Popen(
      list(command),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._file,
      env=dict(environment),
      text=True,
      errors="replace",
      start_new_session=True,
    )
    _alive.add(self)
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def __enter__(self) -> "Child":
    return self

  def __exit__(self, *_: object) -> None:
    self.kill()

  def ask(self, seconds: float, **message: Any) -> dict[str, Any]:
    """Sends a message and returns the answer; see `receive`."""
    with contextlib.suppress(OSError):  # It has ended: `receive` says how.
      assert self._process.stdin is not None
      self._process.stdin.write(json.dumps(message) + "\n")
      self._process.stdin.flush()
    return self.receive(seconds)

  def receive(self, seconds: float) -> dict[str, Any]:
    """The next message.

    Raises:
      Failed: none came in so many seconds, the process ended, or it says `error`.
        It is killed then.
    """
    try:
      message = self._messages.get(timeout=max(0.0, seconds))
    except queue.Empty:
      self.kill()
      raise Failed(f"{self.name}: stopped after {seconds:.0f} s") from None
    if message is None:
      code = self._process.wait()
      self.kill()
      raise Failed(f"{self.name}: ended with exit code {code}: {last_line(self.log)}")
    if "error" in message:
      self.kill()
      raise Failed(f"{self.name}: {message['error']}")
    return message

  def finish(self, seconds: float) -> int:
    """Waits for the end and returns the exit code; Failed if it takes longer."""
    try:
      return self._process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
      raise Failed(f"{self.name}: stopped after {seconds:.0f} s") from None
    finally:
      self.kill()

  @property
  def ended(self) -> bool:
    """Whether the process is over."""
    return self._process.poll() is not None

  def kill(self) -> None:
    """Ends the process and all that it started, with SIGKILL."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    _alive.discard(self)
    assert self._process.stdin is not None
    with contextlib.suppress(OSError):
      self._process.stdin.close()
    self._reader.join(10)

  def _read(self) -> None:
    assert self._process.stdout is not None
    with self._process.stdout as lines, self._file:
      for line in lines:
        if line.startswith(MARK):
          self._messages.put(json.loads(line[len(MARK) :]))
        else:
          self._file.write(line)
    self._messages.put(None)


def last_line(log: Path) -> str:
  """The last line of a log that names an error, or else the last, shortened."""
  lines = [line for line in tail(log, 200) if not _CHATTER.match(line)]
  errors = [line for line in lines if re.search(r"error|exhausted|im21k", line, re.I)]
  return (errors or lines or ["it printed nothing"])[-1][:300]


def tail(log: Path, count: int) -> list[str]:
  """The last lines of a log that say something."""
  text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
  return [line.strip() for line in text.splitlines() if line.strip()][-count:]


def kill_all() -> None:
  """Ends every child; no other can be started from now on."""
  _closed.set()
  for child in list(_alive):
    child.kill()


def end_with_signals() -> None:
  """Makes SIGTERM and SIGHUP end this process as Ctrl-C does, and its children."""
  atexit.register(kill_all)

  def stop(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)

  for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, stop)


class Deadline:
  """A point in time, by the monotonic clock."""

  def __init__(self, seconds: float):
    self._at = time.monotonic() + seconds

  def left(self, most: float = 1e9) -> float:
    """Seconds left, at most so many; Failed if there are none."""
    seconds = self._at - time.monotonic()
    if seconds <= 0:
      raise Failed("no time left")
    return min(seconds, most)

  def has(self, seconds: float) -> bool:
    """Whether so many seconds are left."""
    return self._at - time.monotonic() >= seconds

  def within(self, seconds: float) -> "Deadline":
    """The earlier of this one and one in so many seconds."""
    return Deadline(min(self._at - time.monotonic(), seconds))

"""`im21k launch`: a command as several hosts on this machine, and their common end.

In come a number and a command. Out come its processes, each of which knows its number
by the environment, their output line by line with that number before it, and one exit
status.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from im21k import words
from im21k.hosts import service, watch, world

_USAGE = 2  # Exit status of a wrong command line, which is as wrong the next time.
_MOST = 256
_PAUSE = 0.05
_GRACE = 15.0  # Seconds to end in after a signal.


def launch(
  *command: str,
  hosts: int,
  gpus_each: int | None = None,
  restarts: int = 0,
) -> dict[str, Any]:
  """Runs a command as several hosts on this machine: im21k launch --hosts 2 -- COMMAND.

  Each process of COMMAND, such as im21k train CONFIG, is one host: for tests, for
  laptops, and for machines with a process for each GPU. Each line of output has the
  number of its host before it. SIGINT and SIGTERM go to all. When one ends with an
  error, all end.

  Args:
    command: The command and its arguments, after --.
    hosts: Number of processes.
    gpus_each: GPUs of each process: the first sees the first so many, and so on; by
      default each sees all.
    restarts: How often to start all again after one has ended with an error; a run
      continues from its last checkpoint.

  Returns:
    `statuses`: the exit status of each process, in the last attempt; `restarts`: how
    often all were started again; `failed`, if one ended with an error; `stopped_by`,
    if a signal came.

  Raises:
    ValueError: a number is out of range, or there is no such command.
  """
  if not 1 <= hosts <= _MOST:
    raise ValueError(f"hosts is {hosts}, but must be from 1 to {_MOST}")
  if gpus_each is not None and gpus_each < 1:
    raise ValueError(f"gpus_each is {gpus_each}, but must be at least 1")
  if restarts < 0:
    raise ValueError(f"restarts is {restarts}, but must be at least 0")
  if not shutil.which(command[0]):
    raise ValueError(f"there is no command {command[0]!r}: name one after --")
  for attempt in range(restarts + 1):
    with _Group(command, hosts, gpus_each) as group:
      statuses = group.wait()
    result: dict[str, Any] = {"statuses": statuses, "restarts": attempt}
    if group.received is not None:
      name = signal.Signals(group.received).name
      return result if not any(statuses) else {**result, "stopped_by": name}
    if not any(statuses):
      return result
    result["failed"] = _reason(group.first)
    if _USAGE in statuses:
      break
    if attempt < restarts:
      _say(f"{result['failed']}: starting all again ({attempt + 1} of {restarts})")
  return result


def text(result: dict[str, Any]) -> str:
  """The result of `launch`, for reading."""
  again = result["restarts"]
  how = f", after {words.counted(again, 'restart')}" if again else ""
  return f"{words.counted(len(result['statuses']), 'host')} ended{how}"


class _Group:
  """Processes that begin and end together.

  Attributes:
    received: number of the signal that was passed on to them; None: there was none.
    first: status by number of those that ended with an error, before any was ended.
  """

  def __init__(self, command: Sequence[str], hosts: int, gpus_each: int | None):
    self.received: int | None = None
    self.first: dict[int, int] = {}
    self._command, self._hosts, self._gpus_each = command, hosts, gpus_each
    self._processes: list[subprocess.Popen[str]] = []
    self._readers: list[threading.Thread] = []

  def __enter__(self) -> "_Group":
    self._before = {
      number: signal.signal(number, self._pass_on)
      for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    address = f"127.0.0.1:{service.free_port()}"
    for host in range(self._hosts):
      process = subprocess.Popen(
        self._command,
        env=self._environment(host, address),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # A terminal's Ctrl-C comes once, from here.
      )
      self._processes.append(process)
      for source, target in (
        (process.stdout, sys.stdout), (process.stderr, sys.stderr)
      ):  # fmt: skip
        reader = threading.Thread(target=_copy, args=(host, source, target))
        reader.start()
        self._readers.append(reader)
    return self

  def __exit__(self, *_: object) -> None:
    self._end(signal.SIGKILL)
    for reader in self._readers:
      reader.join()
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def wait(self) -> list[int]:
    """Waits until all have ended; after an error of one, makes the others end."""
    while all(process.poll() in (None, 0) for process in self._processes):
      if all(process.poll() == 0 for process in self._processes):
        return self._statuses()
      time.sleep(_PAUSE)
    # They notice by themselves, and say why; what does not is ended.
    for number in (signal.SIGTERM, signal.SIGKILL):
      ended_alone = self._all_end(_GRACE)
      if not self.first:
        ended = enumerate(process.poll() for process in self._processes)
        self.first = {host: status for host, status in ended if status}
      if ended_alone:
        break
      self._end(number)
    self._all_end(_GRACE)
    return self._statuses()

  def _statuses(self) -> list[int]:
    return [process.wait() for process in self._processes]

  def _all_end(self, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while any(process.poll() is None for process in self._processes):
      if time.monotonic() > end:
        return False
      time.sleep(_PAUSE)
    return True

  def _pass_on(self, number: int, _: object) -> None:
    self.received = number
    self._end(number)

  def _end(self, number: int) -> None:
    for process in self._processes:
      if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
          os.killpg(process.pid, number)  # With what it has started itself.

  def _environment(self, host: int, address: str) -> dict[str, str]:
    found = {
      **os.environ,
      world.COORDINATOR: address,
      world.HOSTS: str(self._hosts),
      world.HOST: str(host),
    }
    if self._gpus_each is not None:
      given = os.environ.get("CUDA_VISIBLE_DEVICES")
      there = given.split(",") if given else [str(n) for n in range(_MOST * _MOST)]
      first = host * self._gpus_each
      own = there[first : first + self._gpus_each]
      if len(own) < self._gpus_each:
        raise ValueError(
          f"gpus_each is {self._gpus_each} for {self._hosts} hosts, but "
          f"CUDA_VISIBLE_DEVICES names {len(there)}: lower one of them"
        )
      found["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return found


def _copy(host: int, source: TextIO, target: TextIO) -> None:
  """Copies lines with the number of their host."""
  for line in _lines(source):
    with contextlib.suppress(OSError, ValueError):  # Nobody reads any more.
      target.write(f"[{host}] {line}\n")
      target.flush()


def _lines(source: TextIO) -> Iterator[str]:
  with source:
    for line in source:
      yield line.rstrip("\n")


def _reason(first: Mapping[int, int]) -> str:
  """Whose end was the cause, as far as the statuses of the first tell."""
  own = [host for host, status in first.items() if status != watch.STATUS]
  host = min(own or first)
  status = first[host]
  if status < 0:
    return f"host {host} was ended by {signal.Signals(-status).name}"
  return f"host {host} has ended with status {status}"


def _say(line: str) -> None:
  with contextlib.suppress(OSError, ValueError):
    print(f"im21k launch: {words.visible(line)}", file=sys.stderr, flush=True)

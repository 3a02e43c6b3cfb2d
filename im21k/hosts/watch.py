"""Signs of life between hosts, and what they say to each other during a run.

One thread reads from each link; another sends and looks for signs of life. A host that
has gone, is frozen, cut off or in error ends all others: in one line, with a status
after which launchers start again.
"""

import collections
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from im21k import words
from im21k.hosts.messages import Ended, Link
from im21k.hosts.roll_call import Present
from im21k.hosts.world import World

# EX_TEMPFAIL: not the fault of this host; the same command is to be run again.
STATUS = 75
_TICKS = 10  # Signs of life within a heartbeat.


class Late(TimeoutError):
  """Not all hosts have come to the same place in time; the message is one line."""


class Watch:
  """What this host knows of the others.

  Attributes:
    world: of this process.
    names: machines of all hosts.
    step: of the run, to be kept up to date by whoever takes steps.
    last_checkpoint: gives what a line about a lost host says about where it resumes.
  """

  def __init__(
    self,
    world: World,
    present: Present,
    end: Callable[[str], NoReturn] | None = None,
  ):
    """Starts to watch.

    Args:
      world: of this process.
      present: from the roll call.
      end: ends this process after a host was lost, with a line; for tests.
    """
    self.world, self.names = world, present.names
    self.step: int | None = None
    self.last_checkpoint: Callable[[], str] = lambda: ""
    self._end = end or _end
    self._links = present.links
    self._steps: dict[int, int | None] = {}
    self._heard = dict.fromkeys(self._links, time.monotonic())
    self._left: set[int] = set()  # Those that have ended in order.
    self._changed = threading.Condition()
    self._said: dict[str, dict[int, Any]] = {}
    self._times: collections.Counter[str] = collections.Counter()
    self._closed = self._lost = False
    for host, link in self._links.items():
      threading.Thread(target=self._read, args=(host, link), daemon=True).start()
    threading.Thread(target=self._look, daemon=True).start()

  def gather(self, name: str, value: Any, seconds: float | None = None) -> list[Any]:
    """What every host says under this name, in their order; waits for all.

    Args:
      name: the same on all hosts, which say as often and in the same order.
      value: what this host says, ready for JSON.
      seconds: to wait for the others; None: as long as they live.

    Raises:
      Late: not all have said it.
    """
    self._times[name] += 1
    name = f"{name} #{self._times[name]}"
    self._take(self.world.host, name, value)
    if self.world.host:
      with contextlib.suppress(Ended):  # `_read` says so.
        self._links[0].send(say=name, value=value)
    end = None if seconds is None else time.monotonic() + seconds
    with self._changed:
      while len(self._said[name]) < self.world.hosts:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
          raise Late(self._late(name, seconds))
        self._changed.wait(left)
      said = self._said.pop(name)
    return [said[host] for host in range(self.world.hosts)]

  def fail(self, reason: str) -> None:
    """Tells all other hosts that this one ends with an error, so that they end too."""
    self._closed = True
    where = self._at(self.world.host, self.step)
    for link in self._links.values():
      with contextlib.suppress(Ended):
        what = f"{where} has ended with an error ({reason[:300]})"
        link.send(lost=what, error=True)

  def close(self) -> None:
    """Ends in order: nobody waits for this host any more."""
    self._closed = True
    for link in self._links.values():
      with contextlib.suppress(Ended):
        link.send(bye=True)

  def wait_for_reason(self) -> None:
    """Waits while another host's end may be why something failed here.

    A collective breaks at once, but a host that froze is known after a heartbeat only.
    """
    time.sleep(self.world.heartbeat + 2)

  def _read(self, host: int, link: Link) -> None:
    try:
      while True:
        message = link.receive()
        self._heard[host] = time.monotonic()
        self._handle(host, message)
    except Ended:
      if host not in self._left:
        self._lose(f"{self._at(host, self._steps.get(host))} has ended")

  def _handle(self, host: int, message: dict[str, Any]) -> None:
    if "alive" in message:
      self._steps[host] = message["alive"]
    elif "say" in message:
      self._take(host, str(message["say"]), message.get("value"))
    elif "all" in message:
      with self._changed:
        values = message.get("values")
        self._said[str(message["all"])] = dict(enumerate(values or ()))
        self._changed.notify_all()
    elif "lost" in message:
      self._lose(str(message["lost"]), bool(message.get("error")))
    elif "bye" in message:
      self._left.add(host)

  def _take(self, host: int, name: str, value: Any) -> None:
    """Notes what a host says; the first host tells all once it is complete."""
    with self._changed:
      said = self._said.setdefault(name, {})
      said[host] = value
      complete = not self.world.host and len(said) == self.world.hosts
      values = [said[at] for at in sorted(said)]
      if complete:
        self._changed.notify_all()
    if complete:
      for link in self._links.values():
        with contextlib.suppress(Ended):
          link.send(all=name, values=values)

  def _look(self) -> None:
    """Sends signs of life, and notices where they fail to come."""
    pause = min(1.0, self.world.heartbeat / _TICKS)
    before = time.monotonic()
    while not self._closed:
      now = time.monotonic()
      if now - before > self.world.heartbeat / 2:  # This host slept itself.
        self._heard = dict.fromkeys(self._links, now)
      before = now
      for host, link in self._links.items():
        silent = now - self._heard[host]
        if host not in self._left and silent > self.world.heartbeat:
          at = self._at(host, self._steps.get(host))
          self._lose(f"{at} has not been heard of for {silent:.0f} s")
        link.try_to_send(alive=self.step)
      time.sleep(pause)

  def _lose(self, what: str, error: bool = False) -> None:
    """Ends this host, because another is lost; the first host tells the others."""
    with self._changed:
      if self._closed or self._lost:
        return
      self._lost = True
    if not self.world.host:
      for link in self._links.values():
        link.try_to_send(lost=what, error=error)
    first = "once that is mended, " if error else ""
    again = f"{first}run the same command on all hosts again"
    self._end(f"{what}{self.last_checkpoint()}: {again}")

  def _at(self, host: int, step: int | None) -> str:
    after = "" if step is None else f" after step {step}"
    return f"host {host} ({self.names[host]}){after}"

  def _late(self, name: str, seconds: float | None) -> str:
    absent = sorted(set(range(self.world.hosts)) - set(self._said[name]))
    # Who is missing is known to the first host alone.
    who = "other hosts" if self.world.host else f"host {', '.join(map(str, absent))}"
    place = name.rpartition(" #")[0]
    return f"{who} did not come to {place} within {seconds:g} s: see what is said there"


def _end(line: str) -> NoReturn:
  """Ends this process at once: threads and libraries may wait for what is lost."""
  with contextlib.suppress(OSError, ValueError):
    print(f"im21k: {words.visible(line)}", file=sys.stderr, flush=True)
  os._exit(STATUS)

"""A command on several hosts, from the roll call to the common end.

In comes a `World`. Out come JAX's devices of all hosts, and a `Watch` by which they
agree; at the end all hosts end together, whatever one of them ran into.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

import jax

from im21k import parallel
from im21k.hosts import roll_call, service, watch
from im21k.hosts.world import World

_GRACE = 5.0  # Seconds in which hosts notice that the first has gone.
_CONNECT = 60  # Seconds for JAX's own connection.
_current: list[watch.Watch] = []


def current() -> watch.Watch | None:
  """The watch over the other hosts; None: this process is, or works, alone."""
  return None if parallel.is_alone() or not _current else _current[-1]


def all_say(name: str, value: Any) -> list[Any]:
  """What each host gives here, ready for JSON; on all hosts, which wait for it."""
  watching = current()
  return watching.gather(name, value) if watching else [value]


@contextlib.contextmanager
def joined(world: World | None) -> Iterator[watch.Watch | None]:
  """Makes one program of all hosts; to be entered before JAX touches a device.

  An error inside ends the other hosts too; whatever ends another host ends this one.

  Args:
    world: of this process; None: it is alone, and nothing is done.

  Raises:
    roll_call.Absent: not all hosts are there.
    OSError: the port is taken.
  """
  if world is None:
    yield None
    return
  with contextlib.ExitStack() as stack:
    if world.host:
      present = roll_call.join(world)
    else:
      port = stack.enter_context(service.running(world.hosts, world.heartbeat + _GRACE))
      present = roll_call.lead(world, port)
    seen = watch.Watch(world, present)
    stack.enter_context(_quiet_stdout())
    _current.append(seen)
    try:
      with _telling(seen):
        _connect(world, present.port)
        yield seen
        seen.gather("the end", True)
        jax.distributed.shutdown()
        seen.gather("the end of JAX", True)  # Before its service ends.
    finally:
      _current.pop()
      seen.close()


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
  """Inside, standard output is dropped: gloo, which has no result, writes there."""
  sys.stdout.flush()
  kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, 1)
  try:
    yield
  finally:
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)  # Also what C++ still holds.
    os.dup2(kept, 1)
    os.close(kept)
    os.close(nowhere)


@contextlib.contextmanager
def _telling(seen: watch.Watch) -> Iterator[None]:
  """Tells the others of an error of this host."""
  try:
    yield
  except BaseException as error:
    if isinstance(error, jax.errors.JaxRuntimeError):
      seen.wait_for_reason()  # Which ends this process, if a host was lost.
    seen.fail(" ".join(str(error).split()) or type(error).__name__)
    raise


def _connect(world: World, port: int) -> None:
  """Starts JAX on all hosts, with all devices of each."""
  name, _ = world.address
  jax.config.update("jax_enable_preemption_service", False)  # Signals are the run's.
  jax.distributed.initialize(
    f"[{name}]:{port}" if ":" in name else f"{name}:{port}",
    num_processes=world.hosts,
    process_id=world.host,
    cluster_detection_method="deactivate",
    initialization_timeout=_CONNECT,
    heartbeat_timeout_seconds=service.NEVER,
    shutdown_timeout_seconds=int(_GRACE),
    # JAX starts a service in the first host in any case. Nobody uses this one.
    coordinator_bind_address=f"127.0.0.1:{service.free_port()}",
  )

"""JAX's coordination service in a process of its own, beside that of the first host.

As part of the first host it would end with it, and every other host's JAX would abort
in C++ before it can say what has happened. So it outlives the first host for as long as
the others need to notice, and to end by themselves.

  python -m im21k.hosts.service PORT HOSTS SECONDS
"""

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

# JAX's own heartbeats never come first: it would abort in 15 lines of C++.
NEVER = 7 * 24 * 3600
_READY = b"ready\n"


class Failed(ConnectionError):
  """The service could not be started; the message is one line."""


@contextlib.contextmanager
def running(hosts: int, outlive: float) -> Iterator[int]:
  """Runs the service until the context ends; gives its port.

  Args:
    hosts: that will connect to it.
    outlive: seconds for which it stays if this process is killed, or the context ends
      with an error: else JAX would abort, here too, before that is said.

  Raises:
    Failed: it has ended at once.
  """
  port = free_port()
  command = [sys.executable, "-m", "im21k.hosts.service", f"{port}", f"{hosts}"]
  process = subprocess.Popen(
    [*command, f"{outlive}"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,  # What JAX says of hosts that have gone.
    start_new_session=True,  # A signal for the first host's group is not for it.
  )
  assert process.stdin and process.stdout
  with process.stdin, process.stdout:
    if process.stdout.readline() != _READY:
      raise Failed(f"JAX's coordination service does not start at port {port}")
    yield port
    process.kill()
    process.wait()


def free_port() -> int:
  """A port that nobody listens at now."""
  with socket.socket() as probe:
    probe.bind(("", 0))
    port: int = probe.getsockname()[1]
    return port


def main(port: str, hosts: str, outlive: str) -> None:
  """Serves until standard input ends, and some seconds longer."""
  import jax

  # JAX itself starts it only within the first host.
  lib: Any = importlib.import_module("jax._src.lib")

  jax.config.update("jax_platforms", "cpu")
  service = lib._jax.get_distributed_runtime_service(
    f"[::]:{port}" if socket.has_dualstack_ipv6() else f"0.0.0.0:{port}",
    int(hosts),
    heartbeat_timeout=NEVER,
    shutdown_timeout=1,
    recoverable=True,  # One host's end is told by `watch`, not by an abort of all.
  )
  sys.stdout.buffer.write(_READY)
  sys.stdout.flush()
  sys.stdin.buffer.read()
  time.sleep(float(outlive))
  del service
  os._exit(0)


if __name__ == "__main__":
  main(*sys.argv[1:])

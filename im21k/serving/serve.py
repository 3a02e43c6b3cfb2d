"""Weights -> a server on this machine, until Ctrl-C."""

import contextlib
import importlib.util
import ipaddress
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from im21k import weights, words
from im21k.answers import calibration as calibrations

_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
_CONNECTIONS = 64
_IDLE = 20  # seconds in which a request must have begun


def serve(
  weights_dir: Path, *, host: str = "127.0.0.1", port: int = 8000
) -> dict[str, Any]:
  """Serves a page that names photos, and the same as JSON, until Ctrl-C.

  Args:
    weights_dir: Release folder of the weights.
    host: Address to listen on; by default only this machine can reach it. There is no
      password.
    port: Port to listen on; 0 takes one that is free.

  Returns:
    `address`, and `photos`, the number that were answered.

  Raises:
    FileNotFoundError: the weights are missing.
    ValueError: the weights are damaged, the port is in use, the host is no address of
      this machine, or Starlette or uvicorn is not installed.
  """
  if not 0 <= port < 1 << 16:
    raise ValueError(f"port is {port}, but must be 0 to {(1 << 16) - 1:,}")
  if name := missing():
    raise ValueError(
      f"serve needs {name}, which is not installed: pip install 'im21k[serve]'"
    )
  return run(weights_dir, host, port)


def text(result: dict[str, Any]) -> str:
  """The result of `serve` for people."""
  return f"stopped after {words.counted(result['photos'], 'photo')}"


def missing() -> str | None:
  """The package that is needed and not installed; None: all are."""
  needed = {
    "starlette": "starlette", "uvicorn": "uvicorn", "multipart": "python-multipart"
  }  # fmt: skip
  gone = (
    package
    for module, package in needed.items()
    if not importlib.util.find_spec(module)
  )
  return next(gone, None)


def run(weights_dir: Path, host: str, port: int) -> dict[str, Any]:
  """The same with what it needs at hand."""
  from im21k.serving import app

  weights_dir = weights.find(weights_dir)
  with bound(host, port) as listening:
    released = weights.load(weights_dir)
    calibration = calibrations.load(weights_dir / weights.ARRAYS)
    service = app.Service(released, calibration)
    server = server_of(service, host)
    address = address_of(listening)
    listening.listen(_CONNECTIONS)
    who = "" if is_local(host) else "everyone in the network can use it; "
    line = f"im21k serve: {address} ({who}Ctrl-C stops it)"
    print(line, file=sys.stderr, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
      server.run([listening])
  return {"address": address, "photos": service.answered}


def server_of(service: Any, host: str) -> Any:
  """uvicorn's server of a service; its `run` takes a list of sockets."""
  import uvicorn

  from im21k.serving import app

  # A stranger's broken form is no event for the terminal.
  logging.getLogger("python_multipart").setLevel(logging.ERROR)
  hosts = frozenset((*_OWN_NAMES, host.lower())) if is_local(host) else None
  config = uvicorn.Config(
    app.create(service, hosts),
    http=_patient(),
    ws="none",
    lifespan="off",
    log_config=None,
    log_level="error",
    access_log=False,
    server_header=False,
    proxy_headers=False,
    limit_concurrency=_CONNECTIONS,
    timeout_graceful_shutdown=5,
  )
  return uvicorn.Server(config)


def is_local(host: str) -> bool:
  """Whether an address is reached from this machine only."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host.lower() == "localhost"


def bound(host: str, port: int) -> socket.socket:
  """A socket at an address; ValueError says why it cannot be had."""
  try:
    family, kind, _, _, address = socket.getaddrinfo(
      host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind)
  except (OSError, UnicodeError):
    raise ValueError(f"host is {host!r}, but must be an address or a name") from None
  try:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
  except OSError as error:
    listening.close()
    reason = (error.strerror or str(error)).lower()
    raise ValueError(
      f"{host} port {port}: {reason}; choose another with --port or --host"
    ) from None
  return listening


def address_of(listening: socket.socket) -> str:
  """What to type into a browser."""
  host, port = listening.getsockname()[:2]
  return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _patient() -> Any:
  """uvicorn's protocol, but a client that sends no request is not waited for."""
  from uvicorn.protocols.http.h11_impl import H11Protocol

  def connection_made(self: Any, transport: Any) -> None:
    H11Protocol.connection_made(self, transport)

    def look(before: Any = None) -> None:
      idle = self.cycle is None or self.cycle.response_complete
      if transport.is_closing():
        return
      if idle and before is self.cycle:
        transport.close()
        return
      self.loop.call_later(_IDLE, look, self.cycle if idle else look)

    self.loop.call_later(_IDLE, look, look)

  return type("Patient", (H11Protocol,), {"connection_made": connection_made})

"""Messages between two hosts: a line of JSON each, over TCP.

What comes is not believed: a line has a limit, and what is no object is an error. The
network between hosts must be the user's own, for nothing is encrypted.
"""

import contextlib
import json
import socket
import threading
from typing import Any

_LONGEST = 64 << 20  # Bytes of a line: scores of all photos of an evaluation.
_LONGEST_HELLO = 4096
_PIECE = 1 << 16


class Ended(ConnectionError):
  """The other side has gone, or says what no host says."""


class Link:
  """A connection to another host; one thread reads, any may send."""

  def __init__(self, connection: socket.socket):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self._connection, self._sending = connection, threading.Lock()
    self._rest = self._unsent = b""

  def send(self, **message: Any) -> None:
    """Sends a message whole.

    Raises:
      Ended: the other side has gone.
    """
    line = json.dumps(message).encode() + b"\n"
    with self._sending:
      try:
        self._connection.sendall(self._unsent + line)
      except OSError as error:
        raise Ended(str(error)) from error
      self._unsent = b""

  def try_to_send(self, **message: Any) -> None:
    """Sends a short message as far as that needs no wait; else it is dropped."""
    if not self._sending.acquire(blocking=False):
      return
    line = self._unsent or json.dumps(message).encode() + b"\n"
    try:
      sent = self._connection.send(line, socket.MSG_DONTWAIT)
      self._unsent = line[sent:]
    except OSError:  # It is full, or gone, which whoever reads notices.
      pass
    finally:
      self._sending.release()

  def receive(self, longest: int = _LONGEST) -> dict[str, Any]:
    """The next message.

    Raises:
      Ended: there is none, or it is no JSON object.
      TimeoutError: it has not come within the time of `limit`.
    """
    pieces = [self._rest]
    length = len(self._rest)
    while b"\n" not in pieces[-1]:
      if length > longest:
        raise Ended("it sends too much")
      try:
        piece = self._connection.recv(_PIECE)
      except TimeoutError:
        raise
      except OSError as error:
        raise Ended(str(error)) from error
      if not piece:
        raise Ended("it has closed the connection")
      pieces.append(piece)
      length += len(piece)
    line, _, self._rest = b"".join(pieces).partition(b"\n")
    try:
      message = json.loads(line)
    except (ValueError, RecursionError):
      message = None
    if not isinstance(message, dict):
      raise Ended("it says what no host says")
    return message

  def hello(self) -> dict[str, Any]:
    """The first message, of whoever may have connected."""
    return self.receive(_LONGEST_HELLO)

  def limit(self, seconds: float | None) -> None:
    """Waits for a message no longer than this; None: for ever."""
    self._connection.settimeout(seconds)

  def close(self) -> None:
    """Ends the connection."""
    with contextlib.suppress(OSError):  # It has ended already.
      self._connection.shutdown(socket.SHUT_RDWR)
    self._connection.close()

"""The hosts find each other: all are there, or each says which is missing.

The first host listens at the port of the coordinator; each other one connects, and says
which it is. When all are there they are told so, and the connections stay open.
"""

import contextlib
import queue
import socket
import threading
import time
from typing import Any, NamedTuple

from im21k import words
from im21k.hosts.messages import Ended, Link
from im21k.hosts.world import World

SECONDS = 50.0  # for all hosts to be there
_PROTOCOL = 1
_PAUSE = 0.2


class Absent(ConnectionError):
  """Not all hosts are there, or one is there twice; the message is one line."""


class Present(NamedTuple):
  """What a roll call has found.

  Attributes:
    links: to the other hosts by number; of a host that is not the first, to it alone.
    names: of the machines of all hosts.
    port: of JAX's own service on the first host.
  """

  links: dict[int, Link]
  names: list[str]
  port: int


def lead(world: World, port: int, seconds: float = SECONDS) -> Present:
  """Waits, as the first host, for all others.

  Args:
    world: of this process.
    port: of JAX's own service, for the others.
    seconds: after which whoever is missing is named.

  Raises:
    Absent: named are those that have not come, came twice, or expect another number.
    OSError: the port is taken.
  """
  come: queue.Queue[tuple[Link, dict[str, Any]]] = queue.Queue()
  links: dict[int, Link] = {}
  names = {0: socket.gethostname()}
  try:
    with _listening(world, come):
      end = time.monotonic() + seconds
      while missing := sorted(set(range(1, world.hosts)) - set(links)):
        try:
          link, hello = come.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
          have = "have" if missing[1:] else "has"
          raise Absent(
            f"{_named(missing)} of {world.hosts} {have} not come to "
            f"{world.coordinator} within {seconds:g} s: start the same command "
            "on every host, each with its own --host"
          ) from None
        if wrong := _wrong(world, hello, names):
          link.send(error=wrong)
          link.close()
          raise Absent(wrong)
        links[hello["host"]] = link
        names[hello["host"]] = str(hello.get("name", "?"))[:200]
  except Absent as error:
    for link in links.values():
      with contextlib.suppress(Ended):
        link.send(error=str(error))
      link.close()
    raise
  ordered = [names[host] for host in range(world.hosts)]
  for link in links.values():
    with contextlib.suppress(Ended):  # Whoever reads next notices.
      link.send(names=ordered, port=port)
    link.limit(None)
  return Present(links, ordered, port)


def join(world: World, seconds: float = SECONDS) -> Present:
  """Finds, as another host than the first, the first, and waits for all.

  Raises:
    Absent: the first does not answer, or says that not all are as they should be.
  """
  link = _connected(world, seconds)
  link.limit(seconds + 10)
  name = socket.gethostname()
  try:
    link.send(im21k=_PROTOCOL, host=world.host, hosts=world.hosts, name=name)
    answer = link.receive()
  except (Ended, TimeoutError) as error:
    link.close()
    raise Absent(
      f"host 0 at {world.coordinator} has ended the roll call ({error}): see what it "
      "says itself"
    ) from None
  if "error" in answer:
    link.close()
    raise Absent(words.visible(str(answer["error"])))
  link.limit(None)
  names, port = answer.get("names"), answer.get("port")
  if not isinstance(names, list) or type(port) is not int:
    raise Absent(f"host 0 at {world.coordinator} is another version of im21k")
  return Present({0: link}, [str(name) for name in names], port)


@contextlib.contextmanager
def _listening(world: World, come: queue.Queue[tuple[Link, dict[str, Any]]]) -> Any:
  """Puts whoever connects, and says what a host says, into the queue."""
  both = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if both else socket.AF_INET
  port = world.address[1]
  try:
    server = socket.create_server(
      ("", port), family=family, backlog=world.hosts, dualstack_ipv6=both
    )
  except OSError as error:
    raise OSError(
      f"port {port} of this host cannot be listened at ({error.strerror}): end what "
      "uses it, or name another in --coordinator on all hosts"
    ) from error

  def greet(connection: socket.socket) -> None:
    link = Link(connection)
    link.limit(10)
    try:
      hello = link.hello()
    except (Ended, TimeoutError):
      link.close()  # A stranger.
    else:
      come.put((link, hello))

  def accept() -> None:
    while True:
      try:
        connection, _ = server.accept()
      except OSError:  # The roll call is over.
        return
      threading.Thread(target=greet, args=(connection,), daemon=True).start()

  threading.Thread(target=accept, daemon=True).start()
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # Else `accept` would go on waiting.
      server.shutdown(socket.SHUT_RDWR)
    server.close()


def _wrong(world: World, hello: dict[str, Any], names: dict[int, str]) -> str | None:
  """What is wrong with whoever has come; None: nothing."""
  host, hosts, name = (hello.get(key) for key in ("host", "hosts", "name"))
  who = f"host {host} ({words.visible(str(name))[:200]})"
  if hello.get("im21k") != _PROTOCOL or type(host) is not int:
    return f"{who} is another version of im21k than host 0: install the same on all"
  if hosts != world.hosts:
    return (
      f"{who} expects {hosts} hosts, host 0 expects {world.hosts}: give all the same"
    )
  if not 0 < host < world.hosts or host in names:
    before = f", as {names[host]} is" if host in names else ""
    return f"{who} is there twice{before}: give each host a number of its own"
  return None


def _named(hosts: list[int]) -> str:
  listed = ", ".join(map(str, hosts[:10])) + (", …" if hosts[10:] else "")
  return f"host{'s' if hosts[1:] else ''} {listed}"


def _connected(world: World, seconds: float) -> Link:
  end = time.monotonic() + seconds
  while True:
    try:
      left = max(0.1, end - time.monotonic())
      return Link(socket.create_connection(world.address, timeout=min(5.0, left)))
    except OSError as error:  # It is not there yet, or has no name yet.
      if time.monotonic() + _PAUSE > end:
        reason = (error.strerror or str(error)).lower()
        raise Absent(
          f"host 0 is not at {world.coordinator}: nothing answers within {seconds:g} s "
          f"({reason}): start the same command there, with --host 0, or open the port"
        ) from None
      time.sleep(_PAUSE)

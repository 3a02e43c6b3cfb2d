"""Hosts as threads of one process: links and watch are real, JAX is absent."""

import concurrent.futures
import socket

import pytest

from im21k.hosts import roll_call, watch
from im21k.hosts.world import World


def free_port():
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


@pytest.fixture
def worlds():
  """Makes the worlds of so many hosts at one free port."""

  def make(count, heartbeat=30.0):
    place = f"127.0.0.1:{free_port()}"
    return [World(host, count, place, heartbeat) for host in range(count)]

  return make


def together(function, items):
  """Runs a function on every item at the same time; results or errors, in order."""
  with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
    waiting = [pool.submit(function, item) for item in items]
    return [one.exception() or one.result() for one in waiting]


_opened = []  # links


@pytest.fixture(autouse=True)
def closed():
  """All links are closed after a test."""
  yield
  while _opened:
    _opened.pop().close()


def present(world, seconds=20.0):
  """The roll call of one host."""
  lead = roll_call.join if world.host else lambda *a: roll_call.lead(a[0], 1, a[1])
  found = lead(world, seconds)
  _opened.extend(found.links.values())
  return found


@pytest.fixture
def watching(worlds):
  """Watches over so many hosts, and the lines with which each would have ended."""
  made = []

  def make(count, heartbeat=30.0):
    found = together(present, worlds(count, heartbeat))
    lines = [[] for _ in range(count)]
    places = worlds(count, heartbeat)
    made.extend(
      watch.Watch(world, there, end=line.append)
      for world, there, line in zip(places, found, lines, strict=True)
    )
    return made[-count:], lines

  yield make
  for one in made:
    one.close()

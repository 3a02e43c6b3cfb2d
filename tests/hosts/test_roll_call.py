"""All hosts are there, or every one of them says which is not."""

import json
import re
import socket

import pytest

from im21k.hosts import roll_call
from im21k.hosts.world import World

from .conftest import present, together


def test_all_find_each_other(worlds):
  first, *others = together(present, worlds(3))
  assert sorted(first.links) == [1, 2]
  assert [sorted(one.links) for one in others] == [[0], [0]]
  assert first.names == others[0].names == [socket.gethostname()] * 3
  assert {one.port for one in others} == {1}


def test_a_missing_host_is_named_on_all(worlds):
  there = [one for one in worlds(4) if one.host != 2]
  errors = together(lambda world: present(world, 1.0), there)
  for error in errors:
    assert isinstance(error, roll_call.Absent)
    assert "host 2 of 4 has not come" in str(error)


def test_a_host_that_is_there_twice_is_named_on_all(worlds):
  first, second = worlds(3)[:2]
  errors = together(lambda world: present(world, 5.0), [first, second, second])
  said = [str(error) for error in errors]
  assert all("host 1" in line and "twice" in line for line in said), said


def test_another_number_of_hosts_is_named_on_all(worlds):
  first, second, _ = worlds(3)
  other = World(1, 2, second.coordinator)
  errors = together(lambda world: present(world, 5.0), [first, other])
  assert all("expects 2 hosts, host 0 expects 3" in str(error) for error in errors)


def test_without_the_first_the_others_say_where_they_looked(worlds):
  with pytest.raises(roll_call.Absent, match=r"host 0 is not at 127\.0\.0\.1:"):
    present(worlds(2)[1], 0.5)


@pytest.mark.parametrize(
  "says", [b"GET / HTTP/1.0\r\n\r\n", b"[1]\n", b"", b"\xff" * 10_000]
)
def test_strangers_are_not_counted(worlds, says):
  places = worlds(2)

  def come(world):
    if world is not None:
      return present(world, 10.0)
    for _ in range(100):
      try:
        with socket.create_connection(places[0].address) as stranger:
          stranger.sendall(says)
        return None
      except OSError:
        pass
    return None

  found = together(come, [places[0], None, places[1]])
  assert sorted(found[0].links) == [1]


def test_a_port_that_is_taken_is_named(worlds):
  place = worlds(2)[0]
  taken = pytest.raises(OSError, match=f"port {place.address[1]} of this host")
  with socket.create_server(("", place.address[1])), taken:
    present(place, 1.0)


def test_what_another_version_says_is_an_error_on_both(worlds):
  place = worlds(2)[0]

  def come(world):
    if world.host == 0:
      return present(world, 5.0)
    for _ in range(1000):
      try:
        with socket.create_connection(world.address, timeout=5) as other:
          other.sendall(
            json.dumps({"im21k": 99, "host": 1, "hosts": 2}).encode() + b"\n"
          )
          return other.recv(4096).decode()
      except ConnectionRefusedError:
        continue

  error, said = together(come, [place, World(1, 2, place.coordinator)])
  assert re.search("another version", str(error)) and "another version" in said

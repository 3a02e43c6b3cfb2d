"""What hosts say to each other, and that a lost one ends all others."""

import time

import pytest

from im21k.hosts import agreement
from im21k.hosts.watch import Late

from .conftest import together


def wait_for(condition, seconds=20.0):
  end = time.monotonic() + seconds
  while not condition() and time.monotonic() < end:
    time.sleep(0.01)
  assert condition()


def test_all_get_what_all_say(watching):
  hosts, _ = watching(3)
  for turn in range(20):
    said = together(
      lambda one, turn=turn: one.gather("x", [one.world.host, turn]), hosts
    )
    assert said == [[[0, turn], [1, turn], [2, turn]]] * 3


def test_one_that_does_not_come_is_named(watching):
  hosts, _ = watching(3)
  errors = together(lambda one: one.gather("tea", 1, 0.3), hosts[:2])
  assert all(isinstance(error, Late) for error in errors)
  assert "host 2 did not come to tea within 0.3 s" in str(errors[0])


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_one_that_is_gone_ends_the_others_in_one_line(watching, lost):
  hosts, lines = watching(3)
  hosts[lost].step = 41
  for one in hosts:
    one.last_checkpoint = lambda: "; the last checkpoint is that of step 40"
  wait_for(lambda: _knows(hosts, lost, 41))
  hosts[lost]._closed = True  # Else it would say that the others have ended.
  for link in hosts[lost]._links.values():
    link.close()
  for host in {0, 1, 2} - {lost}:
    wait_for(lambda host=host: lines[host])
    (line,) = lines[host]
    assert line.startswith(f"host {lost} (")
    said = "after step 41 has ended; the last checkpoint is that of step 40: run the "
    assert said in line


def _knows(hosts, lost, step):
  """Whether those that would say it have heard the step."""
  if lost:
    return hosts[0]._steps.get(lost) == step
  return all(one._steps.get(0) == step for one in hosts[1:])


def test_one_that_is_silent_ends_the_others_after_a_heartbeat(watching):
  hosts, lines = watching(3, heartbeat=3.0)
  hosts[1]._closed = True  # Its signs of life end, as of a frozen process.
  wait_for(lambda: lines[0] and lines[2])
  assert "host 1" in lines[0][0] and "has not been heard of for 3 s" in lines[0][0]
  assert lines[2] == lines[0]


def test_an_error_of_one_ends_the_others(watching):
  hosts, lines = watching(3)
  hosts[2].step = 7
  hosts[2].fail("the disk is full")
  wait_for(lambda: lines[0] and lines[1])
  assert "host 2" in lines[1][0]
  said = "after step 7 has ended with an error (the disk is full): once that is mended"
  assert said in lines[0][0] and said in lines[1][0]  # The first has told the second.
  assert not lines[2]


def test_an_orderly_end_is_no_loss(watching):
  hosts, lines = watching(2)
  together(lambda one: one.gather("the end", True), hosts)
  for one in hosts:
    one.close()
    for link in one._links.values():
      link.close()
  time.sleep(0.2)
  assert lines == [[], []]


def test_a_difference_is_named_on_all(watching):
  hosts, _ = watching(3)
  facts = {"batch_size": 8, "seed": 0}

  def check(one):
    own = {**facts, "seed": 1} if one.world.host == 2 else facts
    agreement.check(one, "config", own)

  errors = together(check, hosts)
  assert len({str(error) for error in errors}) == 1
  assert "host 2" in str(errors[0])
  assert "seed is 1 there, 0 on host 0" in str(errors[0])
  assert (
    together(lambda one: agreement.check(one, "config", facts), hosts) == [None] * 3
  )


def test_a_work_folder_that_is_not_shared_is_an_error_on_all(watching, tmp_path):
  hosts, _ = watching(2)

  def check(one):
    folder = tmp_path / ("a" if one.world.host == 0 else "b")
    agreement.check_shared(one, folder, 0.3)

  errors = together(check, hosts)
  assert all("host 1" in str(e) and "does not see" in str(e) for e in errors), errors
  together(lambda one: agreement.check_shared(one, tmp_path / "a", 5.0), hosts)
  assert not list((tmp_path / "a").iterdir())

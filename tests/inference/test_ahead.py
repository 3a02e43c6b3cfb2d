"""Work ahead of who takes the results: in order, bounded, and it ends."""

import threading

import pytest

from im21k.inference.ahead import ahead


def test_results_come_in_the_order_of_the_list():
  first = threading.Event()

  def make(item):
    if item == 0:
      assert first.wait(600)
    if item == 1:
      first.set()
    return item * item

  found = [one for one in ahead(range(50), make, 2) if one is not None]
  assert found == [item * item for item in range(50)]


def test_no_more_than_a_few_are_made_before_they_are_taken():
  listed = []

  def items():
    for item in range(100):
      listed.append(item)
      yield item

  results = ahead(items(), str, 2)
  assert next(results) == "0"
  results.close()
  assert len(listed) <= 8


def test_none_says_that_the_list_is_slow():
  more = threading.Event()

  def items():
    yield "a"
    assert more.wait(600)
    yield "b"

  results = ahead(items(), str.upper, 2)
  assert next(results) == "A"
  assert next(results) is None
  more.set()
  assert [one for one in results if one is not None] == ["B"]


def broken():
  yield 1
  raise ValueError("the list is broken")


def test_what_is_raised_comes_in_its_turn():
  results = ahead(broken(), str, 2)
  assert next(results) == "1"
  with pytest.raises(ValueError, match="the list is broken"):
    next(results)
  results = ahead([1, 0, 2], lambda item: 1 / item, 2)
  assert next(results) == 1
  with pytest.raises(ZeroDivisionError):
    next(results)

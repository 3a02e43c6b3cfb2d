"""Every epoch holds every record once, and reads advance block by block."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.loading.order import WINDOW, Blockwise, Global
from im21k.loading.read_ahead import ReadAhead

SHARDS = st.lists(st.tuples(st.integers(1, 60), st.integers(50, 3000)), min_size=1)


def blockwise(shards, seed=0, block_bytes=100):
  counts, sizes = zip(*shards, strict=True)
  return Blockwise(counts, sizes, seed, block_bytes)


@settings(max_examples=60)
@given(shards=SHARDS, seed=st.integers(0, 3), epoch=st.integers(0, 5))
def test_an_epoch_holds_every_record_once(shards, seed, epoch):
  order = blockwise(shards, seed)
  n = order.count
  for made in (order, Global(n, seed)):
    records = [made[i] for i in range(epoch * n, (epoch + 1) * n)]
    assert sorted(records) == list(range(n))
    assert {type(record) for record in records} == {int}


@settings(max_examples=20)
@given(shards=SHARDS, data=st.data())
def test_any_position_can_be_asked_for_at_once(shards, data):
  order = blockwise(shards, 1)
  whole = [order[i] for i in range(3 * order.count)]
  fresh = pickle.loads(pickle.dumps(order))
  for i in data.draw(st.permutations(range(len(whole))))[:40]:
    assert fresh[i] == whole[i]


def test_epochs_and_seeds_have_orders_of_their_own():
  shards = [(100, 1000)] * 5
  one, other = blockwise(shards), blockwise(shards, 1)
  orders = [[one[i] for i in range(e * 500, e * 500 + 500)] for e in range(3)]
  orders.append([other[i] for i in range(500)])
  for a, b in itertools.combinations(orders, 2):
    assert sum(x == y for x, y in zip(a, b, strict=True)) < 25


@pytest.mark.slow
@settings(max_examples=60)
@given(shards=SHARDS)
def test_reading_takes_one_block_after_another_and_each_once_an_epoch(shards):
  order = blockwise(shards)
  n, read = order.count, []
  for position in range(2 * n):
    needed = order.needs(position)
    if not needed:
      assert sum(size for _, size in shards) <= WINDOW * 100 or len(shards) == 1
      return
    # All but the last must be there; the last is the next that is read.
    assert any(order[position] in block for block in needed[:-1])
    read += [block for block in needed if block not in read[-2 * WINDOW :]]
  blocks = {block.start: block for block in read}
  assert sorted(itertools.chain(*blocks.values())) == list(range(n))


def test_a_group_mixes_records_of_eight_blocks():
  order = blockwise([(1000, 1000)] * 8)
  middle = np.array([order[i] for i in range(3000, 3100)])
  assert len(set(middle // 100)) >= WINDOW
  assert np.abs(np.diff(middle)).min() >= 1
  assert (np.abs(np.diff(middle)) == 1).mean() < 0.05


def test_what_fits_the_window_is_shuffled_as_a_whole():
  order = blockwise([(50, 100)] * 8)
  assert order.needs(0) == []
  moved = [order[i] // 50 for i in range(400)]
  first = np.bincount(moved[:200], minlength=8)
  assert first.min() > 10 and first.max() < 40, first


def test_the_blocks_that_are_asked_for_are_read_once_in_their_order():
  read = []
  ahead = ReadAhead(lambda block: read.extend(block))
  ahead.wait_for([range(100, 230), range(0, 100)])
  assert read[:130] == list(range(100, 230))
  ahead.wait_for([range(0, 100), range(300, 301)])
  ahead.wait_for([range(300, 301), range(0, 100)])
  assert read == [*range(100, 230), *range(100), 300]


def test_an_error_in_reading_ahead_is_not_lost():
  def read(block):
    raise OSError("the disk is gone")

  with pytest.raises(OSError, match="the disk is gone"):
    ReadAhead(read).wait_for([range(3), range(3, 4)])

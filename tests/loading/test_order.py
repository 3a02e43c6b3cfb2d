"""Every epoch holds every record once, and reads advance block by block."""

import collections
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.loading.order import WINDOW, Blockwise, Global
from im21k.loading.read_ahead import ReadAhead

SHARDS = st.lists(st.tuples(st.integers(1, 60), st.integers(50, 3000)), min_size=1)
LANES = st.sampled_from([1, 2, 3, 5, 12, 24, 50])


def blockwise(shards, seed=0, block_bytes=100, lanes=1):
  counts, sizes = zip(*shards, strict=True)
  return Blockwise(counts, sizes, seed, block_bytes, lanes)


def before_lanes(shards, seed, epoch, block_bytes=100):
  """An epoch as it was when there were no lanes, by its description."""
  counts, sizes = zip(*shards, strict=True)
  first, blocks, window = 0, [np.arange(sum(counts))], 1
  if sum(sizes) > 8 * block_bytes:
    blocks, window = [], 8
    for count, size in shards:
      parts = max(1, round(size / block_bytes))
      cuts = [round(first + count * i / parts) for i in range(parts + 1)]
      blocks += [np.arange(a, b) for a, b in itertools.pairwise(cuts) if a < b]
      first += count

  def permuted(values, *numbers):
    return np.random.default_rng((seed, *numbers)).permutation(values)

  order = permuted(len(blocks), epoch).tolist()
  mixed = [permuted(blocks[block], epoch, block, 1) for block in order]
  groups = [[] for _ in range(len(order) + window - 1)]
  for part in range(window):
    for place, records in enumerate(mixed):
      groups[place + part].append(records[part::window])
  whole = [
    permuted(np.concatenate(parts), epoch, g) for g, parts in enumerate(groups) if parts
  ]
  return np.concatenate(whole).tolist()


@settings(max_examples=60)
@given(shards=SHARDS, seed=st.integers(0, 3), epoch=st.integers(0, 5), lanes=LANES)
def test_an_epoch_holds_every_record_once(shards, seed, epoch, lanes):
  order = blockwise(shards, seed, lanes=lanes)
  n = order.count
  for made in (order, Global(n, seed)):
    records = [made[i] for i in range(epoch * n, (epoch + 1) * n)]
    assert sorted(records) == list(range(n))
    assert {type(record) for record in records} == {int}


@settings(max_examples=40)
@given(shards=SHARDS, seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 3))
def test_with_one_lane_the_order_is_that_from_before_there_were_lanes(
  shards, seed, epoch
):
  order = blockwise(shards, seed)
  n = order.count
  records = [order[i] for i in range(epoch * n, (epoch + 1) * n)]
  assert records == before_lanes(shards, seed, epoch)


@settings(max_examples=20)
@given(
  counts=st.lists(st.integers(1, 60), min_size=1, max_size=8), lanes=LANES,
  seed=st.integers(0, 3),
)  # fmt: skip
def test_what_is_shuffled_as_a_whole_has_the_same_order_with_any_lanes(
  counts, lanes, seed
):
  shards = [(count, 100) for count in counts]
  order = blockwise(shards, seed, lanes=lanes)
  assert not order.has_lanes
  records = [order[i] for i in range(order.count)]
  assert records == before_lanes(shards, seed, 0)


@settings(max_examples=20)
@given(shards=SHARDS, lanes=LANES, data=st.data())
def test_any_position_can_be_asked_for_at_once(shards, lanes, data):
  order = blockwise(shards, 1, lanes=lanes)
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


@settings(max_examples=20)
@given(shards=SHARDS, seed=st.integers(0, 3))
def test_one_lane_reads_one_block_after_another_and_each_once_an_epoch(shards, seed):
  order = blockwise(shards, seed)
  if not order.has_lanes:
    assert order.needs(range(5)) == ([], [], 0)
    return
  read = read_by_a_host(order, 2 * order.count, 1)
  counted = collections.Counter(itertools.chain(*read))
  assert sorted(counted) == list(range(order.count))
  assert sum(counted.values()) <= 2 * order.count + longest_block(order)


def read_by_a_host(order, length, batch, hosts=1, host=0):
  """The blocks that a host reads for the beginning of the stream, as `ReadAhead` does.

  The records of each batch are among those that it waits for.
  """
  read, known = [], collections.OrderedDict()
  for first in range(0, length - batch + 1, batch):
    own = range(first + host, first + batch, hosts)
    needs = order.needs(own)
    present = set(itertools.chain(*needs.now))
    assert present.issuperset(order[position] for position in own)
    for block in (*needs.now, *needs.ahead):
      if block not in known:
        read.append(block)
      known[block] = None
      known.move_to_end(block)
    while len(known) > needs.remembered:
      known.popitem(last=False)
  return read


def longest_block(order):
  blocks = order._pieces._blocks
  return int((blocks.stops - blocks.starts).max())


@settings(max_examples=15)
@given(
  shards=st.lists(
    st.tuples(st.integers(30, 90), st.integers(300, 3000)), min_size=4, max_size=12
  ),
  lanes=st.sampled_from([12, 24]),
  hosts=st.sampled_from([1, 2, 3, 4, 6, 12]),
  batches=st.integers(1, 12),
)  # fmt: skip
def test_hosts_read_every_record_once_in_all(shards, lanes, hosts, batches):
  """But for what is read ahead when it ends; no block is of two lanes in an epoch."""
  order = blockwise(shards, 3, lanes=lanes)
  if not order.has_lanes:
    return
  batch, n = hosts * batches, order.count
  length = 3 * n // batch * batch
  total = 0
  for host in range(hosts):
    total += sum(map(len, read_by_a_host(order, length, batch, hosts, host)))
  # Each lane's window when it ends, and the block that comes next.
  assert total <= length + lanes * (24 // lanes + 1) * longest_block(order)
  lane_of = {}
  for position in range(n):
    for block in order.needs(range(position, position + 1)).now:
      for record in block:
        assert lane_of.setdefault(record, position % lanes) == position % lanes
  assert len(lane_of) == n


@pytest.mark.parametrize("hosts", [2, 3, 4, 8])
def test_a_pass_of_hosts_reads_the_data_once(hosts):
  """Five passes over 480 blocks."""
  order = blockwise([(400, 64_000)] * 10, 5, 4000, 24)
  n, total = order.count, 0
  passes = 5
  for host in range(hosts):
    length = passes * n // (hosts * 12) * (hosts * 12)
    total += sum(map(len, read_by_a_host(order, length, hosts * 12, hosts, host)))
  assert passes * n * 0.95 < total <= 1.05 * passes * n


def test_lanes_need_new_blocks_at_different_times():
  """Also where every piece is a whole number of blocks of one length."""
  order = blockwise([(4800, 4800)] * 6, 0, 300, 24)
  per_lane = order.count // 24
  changes = collections.Counter()
  for lane in range(24):
    blocks = [
      order.needs(range(p, p + 1)).now[-1] for p in range(lane, order.count, 24)
    ]
    assert len(blocks) == per_lane
    changes.update(i for i, (a, b) in enumerate(itertools.pairwise(blocks)) if a != b)
  busiest = max(changes.values())
  assert busiest <= 4, changes.most_common(3)


@pytest.mark.parametrize("lanes", [2, 3, 4, 12, 24])
def test_more_lanes_mix_at_least_as_well_as_one(lanes):
  """How far neighbours on disk are apart, and how many blocks a stretch comes from."""
  shards, n = [(8192, 8192)] * 4, 32_768
  one, other = (blockwise(shards, 1, 64, x) for x in (1, lanes))
  assert other.has_lanes
  far, blocks = [], []
  for order in (one, other):
    stream = np.array([order[i] for i in range(n)])
    place = np.empty(n, int)
    place[stream] = np.arange(n)
    far.append(np.median(np.abs(np.diff(place))))
    # From how many blocks of one lane the records of each 64 positions come.
    blocks.append(np.mean([len(set(part)) for part in (stream // 64).reshape(-1, 64)]))
  assert far[1] > 0.95 * far[0], far
  assert blocks[1] >= blocks[0], blocks


def test_a_group_mixes_records_of_eight_blocks():
  order = blockwise([(1000, 1000)] * 8)
  middle = np.array([order[i] for i in range(3000, 3100)])
  assert len(set(middle // 100)) >= WINDOW
  assert np.abs(np.diff(middle)).min() >= 1
  assert (np.abs(np.diff(middle)) == 1).mean() < 0.05


def test_what_fits_the_window_is_shuffled_as_a_whole():
  order = blockwise([(50, 100)] * 8)
  assert order.needs(range(9)) == ([], [], 0)
  moved = [order[i] // 50 for i in range(400)]
  first = np.bincount(moved[:200], minlength=8)
  assert first.min() > 10 and first.max() < 40, first


def test_the_blocks_that_are_asked_for_are_read_once_in_their_order():
  read = []
  ahead = ReadAhead(lambda block: read.extend(block))
  ahead.wait_for([range(100, 230)], [range(0, 100)], 20)
  assert read[:130] == list(range(100, 230))
  ahead.wait_for([range(0, 100)], [range(300, 301)], 20)
  ahead.wait_for([range(300, 301), range(0, 100)], [], 20)
  assert read == [*range(100, 230), *range(100), 300]


def test_an_error_in_reading_ahead_is_not_lost():
  def read(block):
    raise OSError("the disk is gone")

  with pytest.raises(OSError, match="the disk is gone"):
    ReadAhead(read).wait_for([range(3)], [range(3, 4)], 20)

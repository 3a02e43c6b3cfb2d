"""The model of a network, against rings and trees that are walked link by link."""

import collections
import math

import numpy as np
import pytest

from im21k.planning import links, network
from im21k.planning.collectives import Collective
from im21k.planning.network import Network, Wires

LAYOUTS = [(2, 1), (2, 4), (3, 2), (8, 4), (16, 1), (5, 3)]


class Ring:
  """Devices in a ring, each with an array of one number for each device.

  Attributes:
    crossed: bytes by (host, host) that a link between hosts carried.
    seconds: until the last step is done; in each, all devices send at once.
  """

  def __init__(self, hosts, devices, size, inside, outside):
    self.count, self.devices = hosts * devices, devices
    self.part = size / self.count
    self.rates = {False: inside, True: outside}
    values = np.random.default_rng(0).integers(0, 100, (self.count, self.count))
    self.sums, self.arrays = values.sum(0), values
    self.crossed, self.seconds = collections.Counter(), 0.0

  def turn(self, sent, combine):
    """Each device sends one part to the next, which combines it with its own."""
    longest, news = 0.0, []
    for device in range(self.count):
      other, part = (device + 1) % self.count, sent(device)
      hosts = device // self.devices, other // self.devices
      crosses = hosts[0] != hosts[1]
      self.crossed[hosts] += self.part if crosses else 0
      longest = max(longest, self.part / self.rates[crosses])
      news.append((other, part, self.arrays[device, part]))
    for other, part, value in news:
      self.arrays[other, part] = combine(self.arrays[other, part], value)
    self.seconds += longest

  def scatter(self):
    for step in range(self.count - 1):
      self.turn(lambda device, s=step: (device - s) % self.count, lambda a, b: a + b)

  def gather(self):
    for step in range(self.count - 1):
      self.turn(lambda device, s=step: (device + 1 - s) % self.count, lambda a, b: b)

  def leaving(self):
    out = collections.Counter()
    for (host, _), sent in self.crossed.items():
      out[host] += sent
    return max(out.values())


@pytest.fixture
def without_hops(monkeypatch):
  monkeypatch.setattr(network, "HOP_S", 0.0)
  monkeypatch.setattr(network, "NETWORK_HOP_S", 0.0)


@pytest.fixture
def without_trees(monkeypatch):
  monkeypatch.setattr(network, "TREE", 1e-9)


@pytest.mark.usefixtures("without_hops", "without_trees")
@pytest.mark.parametrize(("hosts", "devices"), LAYOUTS)
@pytest.mark.parametrize("gbit_s", [1.0, 10.0, 1000.0])
def test_a_ring_walked_link_by_link(hosts, devices, gbit_s):
  size, link_gbs = 12e6, 10.0
  wires = Wires(devices, link_gbs, Network(hosts, gbit_s))
  outside = wires.network.bytes_per_second
  ring = Ring(hosts, devices, size, link_gbs * 1e9, outside)
  together = hosts * devices
  ring.scatter()
  scatter = Collective("reduce-scatter", size, together, hosts, 1)
  assert wires.seconds(scatter) == pytest.approx(ring.seconds)
  assert wires.sent(scatter) == pytest.approx(ring.leaving())
  for device in range(together):  # Each has the sum of its own part.
    part = (device + 1) % together
    assert ring.arrays[device, part] == ring.sums[part]
  ring.gather()
  assert (ring.arrays == ring.sums).all()
  reduce = scatter._replace(kind="all-reduce")
  assert wires.seconds(reduce) == pytest.approx(ring.seconds)
  assert wires.sent(reduce) == pytest.approx(ring.leaving())
  gather = scatter._replace(kind="all-gather")
  assert wires.seconds(gather) == wires.seconds(scatter)


@pytest.mark.usefixtures("without_hops", "without_trees")
def test_groups_that_reduce_at_once_share_the_network():
  """Four rings of one device on each host, walked one after the other."""
  size, hosts = 3e6, 8
  wires = Wires(4, 10.0, Network(hosts, 10.0))
  seconds, sent = 0.0, 0.0
  for _ in range(4):
    ring = Ring(hosts, 1, size, 1e9, wires.network.bytes_per_second)
    ring.scatter()
    ring.gather()
    seconds, sent = seconds + ring.seconds, sent + ring.leaving()
  one = Collective("all-reduce", size, hosts, hosts, 4)
  assert wires.seconds(one) == pytest.approx(seconds)
  assert wires.sent(one) == pytest.approx(sent)


def trees(hosts):
  """Parents of each host in two trees of which no host is within both."""
  first = {}
  for host in range(1, hosts):  # As a heap; then the same from the other end.
    first[host] = (host - 1) // 2
  second = {hosts - 1 - host: hosts - 1 - parent for host, parent in first.items()}
  return first, second


@pytest.mark.parametrize(("hosts", "times"), [(2, 1), (4, 1.5), (8, 2), (64, 2)])
def test_two_trees_walked_edge_by_edge(hosts, times):
  """The model takes what they come to for many hosts, as NCCL does."""
  size, out = 8e6, collections.Counter()
  for tree in trees(hosts):
    for child, parent in tree.items():
      out[child] += size / 2  # up, the sum
      out[parent] += size / 2  # down, the result
  wires = Wires(4, 1e6, Network(hosts, 10.0))
  seconds, sent = wires._trees(Collective("all-reduce", size, 4 * hosts, hosts, 1))
  assert max(out.values()) == times * size
  assert sent == (1 if hosts == 2 else 2) * size >= max(out.values())
  pure = sent / wires.network.bytes_per_second / network.TREE
  assert seconds > pure
  hops = 2 * (3 * network.HOP_S + math.log2(hosts) * network.NETWORK_HOP_S)
  assert seconds == pytest.approx(pure + hops)


def test_small_arrays_go_through_trees_and_large_ones_around_the_ring():
  wires = Wires(4, 10.0, Network(16, 10.0))
  small = Collective("all-reduce", 4096, 64, 16, 1)
  large = small._replace(bytes=100_000_000)
  assert wires.seconds(small) == wires._trees(small)[0] < wires._ring(small)[0] / 4
  assert wires.seconds(large) == wires._ring(large)[0] < wires._trees(large)[0]
  # Gathers have no trees.
  gather = small._replace(kind="all-gather")
  assert wires.seconds(gather) == wires._ring(gather)[0] > wires.seconds(small)


@pytest.mark.parametrize(
  ("hosts", "saved"), [(2, 0.43), (4, 0.20), (8, 0.10), (64, 0.01)]
)
def test_what_hierarchical_reduction_saves_of_a_ring(hosts, saved):
  wires = Wires(4, 10.0, Network(hosts))
  flat = wires._ring(Collective("all-reduce", 4e6, 4 * hosts, hosts, 1))[1]
  steps = (
    Collective("reduce-scatter", 4e6, 4, 1, 1),
    Collective("all-reduce", 1e6, hosts, hosts, 4),
    Collective("all-gather", 4e6, 4, 1, 1),
  )
  inner, crossing = wires.sent(steps[0]), wires._ring(steps[1])[1]
  assert inner == wires.sent(steps[2]) == 0
  assert crossing == pytest.approx(2 * (hosts - 1) / hosts * 4e6)
  assert 1 - crossing / flat == pytest.approx(saved, abs=0.005)


def test_one_host_is_as_without_a_network():
  one = Collective("all-reduce", 12_345_678, 4, 1, 1)
  for wires in (Wires(4, 8.2), Wires(4, 8.2, Network(8, 1.0))):
    assert wires.seconds(one) == 12_345_678 / links.reduced_per_second(8.2, 4)
    assert wires.sent(one) == 0
  assert Wires(1, 8.2).seconds(one._replace(devices=1)) == 0


def test_a_speed_is_in_the_unit_of_networks_and_beside_it_in_that_of_links():
  assert network.shown(10.0) == "10 Gbit/s (1.25 GB/s)"
  assert network.shown(2.5) == "2.5 Gbit/s (0.3125 GB/s)"
  data = Network(2, 10.0).bytes_per_second
  assert 1.1e9 < data < 1.25e9

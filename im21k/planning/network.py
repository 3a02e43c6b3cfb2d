"""Hosts and their network -> seconds that a collective takes.

The model, of a collective over `n` devices on `h` hosts, of an array of `S` bytes:

- In a ring in the order of the hosts, as NCCL makes it, each device sends its
  neighbour `2 (n - 1) / n · S` in an all-reduce (Patarasuk and Yuan 2009, "Bandwidth
  optimal all-reduce algorithms"), and half of that in an all-gather or reduce-scatter.
  One device of each host sends to the next host, so this is also what leaves a host.
- In NCCL's two trees (Sanders et al. 2009, "Two-tree algorithms for full bandwidth
  broadcast, reduction and scan"), of which each has half of the array, a host with two
  children in one is a leaf of the other: `2 S` leave it, of two hosts `S`. NCCL reckons
  with `TREE` of a ring's bandwidth. It chooses what it expects to be faster, for
  all-reduces only; so does the model.
- Hierarchical: a reduce-scatter within each host, an all-reduce of each device's
  `1 / d` with its likes on the other hosts, and an all-gather: `2 (h - 1) / h · S`
  leave each host. XLA makes these of each all-reduce with the flag `HIERARCHICAL`
  (Cho et al. 2019, "BlueConnect"), so the rules above are all that is needed. Of a
  ring's bytes, with four devices each, it saves 43 % for 2 hosts, 20 % for 4, 10 % for
  8 and 1 % for 64; nothing of those of two trees between 2 hosts.

A host's network carries one collective after another, in both directions at once, with
`PAYLOAD` of its nominal speed; hops add `HOP_S` and `NETWORK_HOP_S`.
"""

import dataclasses
import math

from im21k.planning import links
from im21k.planning.collectives import Collective

SPEEDS = (1.0, 10.0, 25.0, 100.0)  # Gbit/s, of Ethernet as it is sold
USUAL = 10.0  # where no speed is given
# TCP over Ethernet: of a frame's 1,538 bytes on the wire 1,448 are data.
PAYLOAD = 1448 / 1538
TREE = 0.9
# Assumed, not measured: NCCL's tuner reckons with 1 to 6 µs within a host and 3 to 10
# over a network without TCP.
HOP_S, NETWORK_HOP_S = 5e-6, 20e-6
HIERARCHICAL = "--xla_gpu_all_reduce_blueconnect_num_devices_per_host"


@dataclasses.dataclass(frozen=True)
class Network:
  """The hosts of a run and what is between them.

  Attributes:
    hosts: number of hosts, each with the config's `devices`.
    gbit_s: nominal speed of each host's network in one direction, Gbit/s.
    is_hierarchical: whether XLA's flag `HIERARCHICAL` is set.
  """

  hosts: int = 1
  gbit_s: float = USUAL
  is_hierarchical: bool = False

  @property
  def bytes_per_second(self) -> float:
    """Bytes of data that a host can send in a second."""
    return self.gbit_s * 1e9 / 8 * PAYLOAD


ONE = Network()


def shown(gbit_s: float) -> str:
  """`10 Gbit/s (1.25 GB/s)`: in the unit of networks, and in that of links."""
  return f"{gbit_s:g} Gbit/s ({gbit_s / 8:g} GB/s)"


@dataclasses.dataclass(frozen=True)
class Wires:
  """What connects all devices of a run.

  Attributes:
    devices: of each host.
    link_gbs: GB/s between two devices of a host, in one direction.
    network: the hosts, and what connects them.
  """

  devices: int
  link_gbs: float
  network: Network = ONE

  def seconds(self, one: Collective) -> float:
    """Time of a collective, from its start until its result is there."""
    return self._cost(one)[0]

  def sent(self, one: Collective) -> float:
    """Bytes of it that leave the host which sends most of them."""
    return self._cost(one)[1]

  def _cost(self, one: Collective) -> tuple[float, float]:
    """Seconds, and bytes that leave a host."""
    if one.hosts == 1:
      halves = 1 if one.kind == "all-reduce" else 2
      rate = links.reduced_per_second(self.link_gbs, one.devices)
      return one.bytes / halves / rate, 0.0
    ring = self._ring(one)
    return min(ring, self._trees(one)) if one.kind == "all-reduce" else ring

  def _ring(self, one: Collective) -> tuple[float, float]:
    times = 2 if one.kind == "all-reduce" else 1
    each = times * (one.devices - 1) / one.devices * one.bytes  # over each link
    outside = one.at_once * each
    slowest = outside / self.network.bytes_per_second
    if one.devices > one.hosts:
      slowest = max(slowest, each / (self.link_gbs * 1e9))
    inner, outer = one.devices - one.hosts, one.hosts - 1
    return slowest + times * (inner * HOP_S + outer * NETWORK_HOP_S), outside

  def _trees(self, one: Collective) -> tuple[float, float]:
    members = one.devices // one.hosts
    outside = (1 if one.hosts == 2 else 2) * one.at_once * one.bytes
    slowest = outside / (TREE * self.network.bytes_per_second)
    if members > 1:
      slowest = max(slowest, 2 * one.bytes / (TREE * self.link_gbs * 1e9))
    levels = math.ceil(math.log2(one.hosts))
    hops = 2 * ((members - 1) * HOP_S + levels * NETWORK_HOP_S)
    return slowest + hops, outside

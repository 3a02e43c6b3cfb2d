"""A scheduled XLA program -> its arithmetic, traffic, all-reduces and time."""

import collections
import dataclasses
import math
import re

from im21k.planning import collectives, fusions, hlo, loops
from im21k.planning.collectives import Collective
from im21k.planning.hlo import Computation, Instruction
from im21k.planning.network import Wires

_COLLECTIVES = (
  "all-reduce", "all-gather", "reduce-scatter", "collective", "all-to-all",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class AllReduce:
  """One collective, and what runs beside it.

  Attributes:
    name: its name in the program.
    origin: JAX operations that it comes from.
    bytes: bytes that each device sends into it.
    convolutions: backprop's convolutions that are issued between its start and its end.
    flops: arithmetic of all convolutions and products there.
  """

  name: str
  origin: str
  bytes: int
  convolutions: int
  flops: int


class Program:
  """A program as text, as `compiled.as_text()` returns it.

  Raises:
    ValueError: the text is not that of a scheduled program.
  """

  def __init__(self, text: str):
    self._computations = hlo.computations(text)
    self.instructions = tuple(
      loops.written_out(hlo.instructions(text), self._computations)
    )
    self._by_name = {i.name: i for i in self.instructions}
    # Every card and every question asks for all of them.
    self._flops: dict[str, int] = {}
    self._traffic: dict[str, int] = {}
    self._collectives: dict[tuple[str, int, int], Collective] = {}

  def flops(self, instruction: Instruction) -> int:
    """Two for each multiplication of a convolution or product; 0 for the rest."""
    name = instruction.name
    if name not in self._flops:
      self._flops[name] = self._count_flops(instruction)
    return self._flops[name]

  def called(self, instruction: Instruction) -> Computation | None:
    """The computation of a fusion; None for other instructions."""
    name = re.search(r"calls=%?([\w.\-]+)", instruction.text)
    return self._computations.get(name.group(1)) if name else None

  def recomputed_flops(self) -> int:
    """FLOPs of what is computed a second time."""
    return sum(self.flops(i) for i in self.instructions if i.is_recomputed)

  def total_flops(self) -> int:
    """FLOPs of all convolutions and products, on one device."""
    return sum(map(self.flops, self.instructions))

  def traffic(self, instruction: Instruction) -> int:
    """Bytes that an instruction reads and writes, if nothing is cached."""
    name = instruction.name
    if name not in self._traffic:
      self._traffic[name] = self._count_traffic(instruction)
    return self._traffic[name]

  def all_reduces(self) -> tuple[AllReduce, ...]:
    """All all-reduces, in the order in which they start."""
    reduces: list[AllReduce] = []
    under_way: dict[str, int] = {}
    for instruction in self.instructions:
      if instruction.opcode in hlo.STARTS:
        sent = self._sent(instruction)
        reduces.append(AllReduce(instruction.name, instruction.origin, sent, 0, 0))
        if instruction.opcode == "all-reduce-start":
          under_way[instruction.name] = len(reduces) - 1
      elif instruction.opcode == "all-reduce-done":
        under_way.pop(instruction.operands[0])
      else:
        for index in under_way.values():
          one = reduces[index]
          reduces[index] = dataclasses.replace(
            one,
            convolutions=one.convolutions + instruction.is_backprop,
            flops=one.flops + self.flops(instruction),
          )
    return tuple(reduces)

  def has_collectives(self) -> bool:
    """Whether devices communicate at all."""
    return any(i.opcode.startswith(_COLLECTIVES) for i in self.instructions)

  def exchanges(self, devices: int, hosts: int) -> tuple[Collective, ...]:
    """All collectives, in the order in which they start.

    Args:
      devices: of each host.
      hosts: that the program is compiled for.
    """
    return tuple(
      self._collective(one, devices, hosts)
      for one in self.instructions
      if collectives.kind(one)
    )

  def blocking(self, origin: str = "") -> int:
    """How many collectives of this origin are awaited where they begin."""
    every = (one for one in self.instructions if origin in one.origin)
    return sum(map(collectives.blocks, every))

  def seconds(
    self, flops_per_second: float, bandwidth: float, wires: Wires
  ) -> tuple[float, float]:
    """Estimates the time of the step: `(computing, waiting for collectives)`.

    Every instruction takes as long as its arithmetic at the card's peak or its traffic
    at the memory's bandwidth, whichever is longer. Collectives run beside the
    computation until their result is needed: one after the other within hosts, and one
    after the other over the network.

    Args:
      flops_per_second: peak of the card.
      bandwidth: bytes/s of its memory; infinity leaves arithmetic alone.
      wires: what connects the devices that the program is compiled for.
    """
    now = waited = 0.0
    free = {False: 0.0, True: 0.0}  # of the links within hosts, and of the network
    ready: dict[str, float] = {}
    for instruction in self.instructions:
      name = instruction.name
      if collectives.kind(instruction):
        one = self._collective(instruction, wires.devices, wires.network.hosts)
        where = one.hosts > 1
        free[where] = max(free[where], now) + wires.seconds(one)
        ready[name] = free[where]
      if collectives.ends(instruction):
        end = ready[instruction.operands[0] if name not in ready else name]
        waited += max(0.0, end - now)
        now = max(now, end)
      elif name not in ready:
        arithmetic = self.flops(instruction) / flops_per_second
        now += max(arithmetic, self.traffic(instruction) / bandwidth)
    return now - waited, waited

  def _collective(self, one: Instruction, devices: int, hosts: int) -> Collective:
    key = one.name, devices, hosts
    if key not in self._collectives:
      self._collectives[key] = collectives.read(one, self._sent(one), devices, hosts)
    return self._collectives[key]

  def _sent(self, instruction: Instruction) -> int:
    return sum(self._by_name[o].bytes for o in instruction.operands)

  def _count_traffic(self, instruction: Instruction) -> int:
    if instruction.opcode in ("parameter", "constant", *hlo.VIEWS):
      return 0
    # An average of weights is updated in few steps: see `averages`.
    if instruction.opcode == "conditional" and "/average/" in instruction.origin:
      return 0
    computation = self.called(instruction)
    shares = fusions.shares_read(computation) if computation else None
    read: dict[str, float] = collections.defaultdict(float)
    for index, name in enumerate(instruction.operands):
      read[name] += shares[index] if shares else 1
    sizes = (min(1, share) * self._by_name[name].bytes for name, share in read.items())
    return round(sum(sizes)) + instruction.bytes

  def _count_flops(self, instruction: Instruction) -> int:
    if instruction.kind == "product":
      return _product_flops(instruction, self._by_name)
    if instruction.kind:
      return self._convolution_flops(instruction)
    computation = self.called(instruction)
    body = computation.body if computation else ()
    # XLA may write the kernel of a product itself, as a fusion around it.
    by_name = {one.name: one for one in body}
    return sum(_product_flops(one, by_name) for one in body if one.kind == "product")

  def _convolution_flops(self, instruction: Instruction) -> int:
    a, b = (self._by_name[o].shapes[0][1] for o in instruction.operands[:2])
    result = instruction.shapes[0][1]
    outputs, kernel = {
      "kernel gradient": (b, result),
      "image gradient": (a, b),
      "forward": (result, b),
    }[instruction.kind]
    labels = re.search(r"dim_labels=\w+_(\w+)->", instruction.text)
    if not labels:
      raise ValueError(f"{instruction.name}: a convolution without dim_labels")
    channels = kernel[labels.group(1).index("o")]
    return 2 * math.prod(outputs) * math.prod(kernel) // channels


def _product_flops(product: Instruction, by_name: dict[str, Instruction]) -> int:
  left = by_name[product.operands[0]].shapes[0][1]
  match = re.search(
    r'lhs_contracting_dim(?:ension)?s"?[:=][\[{]([^\]}]*)', product.text
  )
  if not match:
    raise ValueError(f"{product.name}: a product without contracted dimensions")
  inner = math.prod(left[int(d)] for d in re.findall(r"\d+", match.group(1)))
  return 2 * math.prod(product.shapes[0][1]) * inner

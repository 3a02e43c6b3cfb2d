"""Reads a scheduled XLA program: text in; arithmetic, traffic, memory, overlap out.

The order of instructions in ENTRY is the order in which XLA issues them
(`is_scheduled=true`), so what lies between the start and the end of an all-reduce is
what runs beside it.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_BYTES = {
  "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4,
  "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8,
}  # fmt: skip
_COMMENT = re.compile(r"/\*.*?\*/")
_LINE = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
# Instructions that only give another name to what is there.
_STARTS, _ENDS = ("all-reduce-start", "all-reduce"), ("all-reduce-done", "all-reduce")
_VIEWS = ("bitcast", "get-tuple-element", "tuple", *_STARTS, *_ENDS)

Shape = tuple[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Instruction:
  """A line of ENTRY: `name = shapes opcode(operands), text`."""

  name: str
  opcode: str
  shapes: tuple[Shape, ...]
  operands: tuple[str, ...]
  text: str
  is_root: bool

  @functools.cached_property
  def bytes(self) -> int:
    """Of the result, all parts of it."""
    return sum(map(_size, self.shapes))

  @functools.cached_property
  def kind(self) -> str:
    """`forward`, `image gradient`, `kernel gradient`, `product`, or nothing."""
    if "__cudnn$convBackwardFilter" in self.text:
      return "kernel gradient"
    if "__cudnn$convBackwardInput" in self.text:
      return "image gradient"
    if "__cudnn$conv" in self.text:
      return "forward"
    return "product" if "__cublas" in self.text or self.opcode == "dot" else ""

  @functools.cached_property
  def origin(self) -> str:
    """The path of JAX operations that it comes from, or nothing."""
    found = re.search(r'op_name="([^"]*)"', self.text)
    return found.group(1) if found else ""

  @property
  def is_backprop(self) -> bool:
    """Whether it is a convolution that only backprop has."""
    return self.kind in ("image gradient", "kernel gradient")


@dataclasses.dataclass(frozen=True)
class AllReduce:
  """One collective: `bytes`, and what runs while it is under way.

  Attributes:
    name: in the program.
    origin: JAX operations that it comes from.
    bytes: that each device sends into it.
    convolutions: of backprop that are issued between its start and its end.
    flops: of all convolutions and products there.
  """

  name: str
  origin: str
  bytes: int
  convolutions: int
  flops: int


class Program:
  """A program as `compiled.as_text()` gives it; ValueError if it is no such text."""

  def __init__(self, text: str):
    if "is_scheduled=true" not in text.partition("\n")[0]:
      raise ValueError("this is not the text of a scheduled XLA program")
    self.instructions = tuple(_entry(text))
    self._by_name = {i.name: i for i in self.instructions}

  def flops(self, instruction: Instruction) -> int:
    """Of a convolution or product: two for each multiplication; else 0."""
    if instruction.kind == "product":
      return self._product_flops(instruction)
    return self._convolution_flops(instruction) if instruction.kind else 0

  def recomputed_flops(self) -> int:
    """Of what is computed a second time, by our policy or by XLA's own."""
    again = ("rematted_computation", ".remat")
    return sum(
      self.flops(i)
      for i in self.instructions
      if again[0] in i.origin or again[1] in i.name
    )

  def total_flops(self) -> int:
    """Of all convolutions and products, on one device."""
    return sum(map(self.flops, self.instructions))

  def traffic(self, instruction: Instruction) -> int:
    """Bytes that it reads and writes, if it finds nothing in a cache."""
    if instruction.opcode in ("parameter", "constant", *_VIEWS):
      return 0
    read = sum(self._by_name[o].bytes for o in set(instruction.operands))
    return read + instruction.bytes

  def all_reduces(self) -> tuple[AllReduce, ...]:
    """In the order in which they start."""
    found: list[AllReduce] = []
    under_way: dict[str, int] = {}
    for instruction in self.instructions:
      if instruction.opcode in _STARTS:
        sent = self._sent(instruction)
        found.append(AllReduce(instruction.name, instruction.origin, sent, 0, 0))
        if instruction.opcode == "all-reduce-start":
          under_way[instruction.name] = len(found) - 1
      elif instruction.opcode == "all-reduce-done":
        under_way.pop(instruction.operands[0])
      else:
        for index in under_way.values():
          one = found[index]
          found[index] = dataclasses.replace(
            one,
            convolutions=one.convolutions + instruction.is_backprop,
            flops=one.flops + self.flops(instruction),
          )
    return tuple(found)

  def has_collectives(self) -> bool:
    """Whether devices speak to each other at all."""
    words = ("all-reduce", "all-gather", "reduce-scatter", "collective", "all-to-all")
    return any(i.opcode.startswith(words) for i in self.instructions)

  def seconds(
    self, flops_per_second: float, bandwidth: float, link: float
  ) -> tuple[float, float]:
    """Time of the step by a model: `(computing, waiting for all-reduces)`.

    Every instruction takes as long as its arithmetic at the card's peak or its traffic
    at the memory's bandwidth, whichever is longer; all-reduces go over the link one
    after the other, beside the computation, until their result is asked for.

    Args:
      flops_per_second: of the card.
      bandwidth: of its memory, bytes/s; infinity leaves arithmetic alone.
      link: bytes/s of gradients reduced.
    """
    now = waited = link_free = 0.0
    ready: dict[str, float] = {}
    for instruction in self.instructions:
      if instruction.opcode in _STARTS:
        link_free = max(link_free, now) + self._sent(instruction) / link
        ready[instruction.name] = link_free
      if instruction.opcode in _ENDS:
        name = instruction.name
        end = ready[instruction.operands[0] if name not in ready else name]
        waited += max(0.0, end - now)
        now = max(now, end)
      else:
        arithmetic = self.flops(instruction) / flops_per_second
        now += max(arithmetic, self.traffic(instruction) / bandwidth)
    return now - waited, waited

  def _sent(self, instruction: Instruction) -> int:
    return sum(self._by_name[o].bytes for o in instruction.operands)

  def _product_flops(self, instruction: Instruction) -> int:
    left = self._by_name[instruction.operands[0]].shapes[0][1]
    found = re.search(
      r'lhs_contracting_dim(?:ension)?s"?[:=][\[{]([^\]}]*)', instruction.text
    )
    if not found:
      raise ValueError(f"{instruction.name}: a product without contracted dimensions")
    inner = math.prod(left[int(d)] for d in re.findall(r"\d+", found.group(1)))
    return 2 * math.prod(instruction.shapes[0][1]) * inner

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


@dataclasses.dataclass(frozen=True)
class Peak:
  """What is alive, beside the arguments, where most is.

  Attributes:
    at: origin of the instruction, or of the one before it that has one.
    kept: bytes of tensors from the forward pass, kept for backprop.
    gradients: bytes of parameters' gradients.
    workspace: bytes of the rest: of the computation that is going on there.
  """

  at: str
  kept: int
  gradients: int
  workspace: int


def peak(program: Program) -> Peak:
  """Follows every buffer from its making to its last use.

  A loop over elements may write its result where an input of the same size has its
  last use; the new state takes the place of the old. XLA's own peak is within some
  percent of this.
  """
  instructions = program.instructions
  owners: dict[str, tuple[str, ...]] = {}  # name -> the buffers that it stands for
  sizes: dict[str, int] = {}
  made: dict[str, int] = {}
  last: dict[str, int] = {}
  read: dict[str, set[str]] = {}  # buffer -> buffers that it is made of
  for index, one in enumerate(instructions):
    behind = [owners[o] for o in one.operands]
    flat = tuple(b for buffers in behind for b in buffers)
    if one.opcode in ("parameter", "constant"):
      owners[one.name] = ()
    elif one.opcode == "get-tuple-element":
      at = re.search(r"index=(\d+)", one.text)
      owners[one.name] = flat[int(at.group(1)) :][:1] if at and len(flat) > 1 else flat
    elif one.opcode in _VIEWS:
      owners[one.name] = flat
    else:
      owners[one.name] = tuple(f"{one.name}.{k}" for k in range(len(one.shapes)))
      for buffer, shape in zip(owners[one.name], one.shapes, strict=True):
        sizes[buffer], made[buffer], last[buffer] = _size(shape), index, index
        read[buffer] = set(flat)
      last.update(dict.fromkeys(flat, index))
    if one.opcode.startswith("all-reduce"):
      last.update(dict.fromkeys(flat, index))
  outputs = set(owners[instructions[-1].name])
  gradients = set().union(*(read[b] for b in outputs)) - outputs
  turn = next((k for k, i in enumerate(instructions) if "transpose(jvp" in i.origin), 0)
  begins: list[list[str]] = [[] for _ in instructions]
  ends: list[list[str]] = [[] for _ in instructions]
  for buffer in sizes.keys() - outputs:
    begins[made[buffer]].append(buffer)
    ends[last[buffer]].append(buffer)
  alive: set[str] = set()
  total = highest = where = 0
  there: set[str] = set()
  for index, one in enumerate(instructions):
    alive.update(begins[index])
    total += sum(sizes[b] for b in begins[index])
    dying = [b for b in ends[index] if made[b] < index]
    shared = 0
    if "kind=kLoop" in one.text:
      left = [sizes[b] for b in dying]
      for buffer in begins[index]:
        if sizes[buffer] in left:
          left.remove(sizes[buffer])
          shared += sizes[buffer]
    if total - shared > highest:
      highest, where, there = total - shared, index, set(alive)
    alive.difference_update(ends[index])
    total -= sum(sizes[b] for b in ends[index])
  held = sum(sizes[b] for b in there & gradients)
  kept = sum(sizes[b] for b in there - gradients if made[b] < turn)
  origins = (i.origin for i in reversed(instructions[: where + 1]) if i.origin)
  return Peak(next(origins, ""), kept, held, highest - held - kept)


def _size(shape: Shape) -> int:
  return _BYTES.get(shape[0], 0) * math.prod(shape[1])


def _entry(text: str) -> Iterator[Instruction]:
  body = text[text.index("\nENTRY ") :]
  for line in body[: body.index("\n}")].splitlines()[2:]:
    found = _LINE.match(_COMMENT.sub("", line))
    if not found:
      raise ValueError(f"this line of the program is not understood: {line[:200]}")
    root, name, result, opcode, rest = found.groups()
    operands, _, attributes = rest.partition(")")
    shapes = tuple(
      (kind, tuple(int(d) for d in sides.split(",") if d))
      for kind, sides in _SHAPE.findall(result)
    )
    names = tuple(_NAME.findall(operands))
    yield Instruction(name, opcode, shapes, names, attributes, bool(root))

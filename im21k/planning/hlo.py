"""The text of a scheduled XLA program -> its instructions, in the order of issue.

The order of instructions in ENTRY is the order in which XLA issues them
(`is_scheduled=true`), so what stands between the start and the end of an all-reduce is
what runs beside it.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BYTES = {
  "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4,
  "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8,
}  # fmt: skip
_COMMENT = re.compile(r"/\*.*?\*/")
_LINE = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)")
_COMPUTATION = re.compile(
  r"^%([\w.\-]+) \((.*)\) -> .*\{\n((?:  .*\n)*)\}", re.MULTILINE
)
_ARGUMENT = re.compile(r"%?([\w.\-]+): ")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
STARTS, ENDS = ("all-reduce-start", "all-reduce"), ("all-reduce-done", "all-reduce")
CARRY = "carry"  # The state of a loop between two turns: see `loops`.
# Instructions that only give another name to an array.
VIEWS = ("bitcast", "get-tuple-element", "tuple", CARRY, *STARTS, *ENDS)

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
    """Bytes of the result, all parts of it."""
    return sum(map(size, self.shapes))

  @functools.cached_property
  def kind(self) -> str:
    """`forward`, `image gradient`, `kernel gradient`, `product`, or nothing.

    This is the form that XLA gave to the operation: the image gradient of a pointwise
    convolution may have the form of a forward one.
    """
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
    match = re.search(r'op_name="([^"]*)"', self.text)
    return match.group(1) if match else ""

  @property
  def is_recomputed(self) -> bool:
    """Whether it repeats a part of the forward pass, by our policy or by XLA's own."""
    return "rematted_computation" in self.origin or ".remat" in self.name

  @property
  def is_backprop(self) -> bool:
    """Whether it is a convolution that computes a gradient."""
    if self.kind in ("image gradient", "kernel gradient"):
      return True
    transposed = "transpose(" in self.origin
    return self.kind == "forward" and transposed and not self.is_recomputed


class Computation(NamedTuple):
  """Names of the arguments, and the instructions, each after those that it uses."""

  arguments: tuple[str, ...]
  body: tuple[Instruction, ...]


def instructions(text: str) -> tuple[Instruction, ...]:
  """The instructions of ENTRY in a program that `compiled.as_text()` returned.

  Raises:
    ValueError: the text is not that of a scheduled program, or a line of it is not
      understood.
  """
  if "is_scheduled=true" not in text.partition("\n")[0]:
    raise ValueError("this is not the text of a scheduled XLA program")
  body = text[text.index("\nENTRY ") :]
  return tuple(_read(body[: body.index("\n}")].splitlines()[2:]))


def computations(text: str) -> dict[str, Computation]:
  """The computations that instructions of ENTRY may call, by name.

  Raises:
    ValueError: a line of one is not understood.
  """
  found = {}
  for name, head, body in _COMPUTATION.findall(text):
    arguments = tuple(_ARGUMENT.findall(head))
    found[name] = Computation(arguments, tuple(_read(body.splitlines())))
  return found


def size(shape: Shape) -> int:
  """Bytes of an array."""
  return _BYTES.get(shape[0], 0) * math.prod(shape[1])


def _read(lines: Iterable[str]) -> Iterator[Instruction]:
  for line in lines:
    match = _LINE.match(_COMMENT.sub("", line))
    if not match:
      raise ValueError(f"this line of the program is not understood: {line[:200]}")
    root, name, result, opcode, rest = match.groups()
    operands, _, attributes = rest.partition(")")
    shapes = tuple(
      (kind, tuple(int(d) for d in sides.split(",") if d))
      for kind, sides in _SHAPE.findall(result)
    )
    names = tuple(_NAME.findall(operands))
    yield Instruction(name, opcode, shapes, names, attributes, bool(root))

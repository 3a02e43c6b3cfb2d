"""A scheduled program -> which work passes how many bytes over the card's memory.

A kind is what a reader of the network knows; XLA fuses across them, so a fusion counts
as what makes it expensive: a sum, a pool, or neither.
"""

import collections
import re

from im21k.planning.hlo import Instruction
from im21k.planning.program import Program

FORWARD = "convolutions, forward"
IMAGES = "convolutions, image gradients"
KERNELS = "convolutions, kernel gradients"
PRODUCTS = "products of the head"
SUMS = "sums over channels"  # BatchNorm's statistics, and the sums of its gradients.
PASSES = "elementwise passes"  # BatchNorm, ReLU, and their gradients.
POOLS = "pools"
MOVES = "joining and splitting"  # Also other forms, types and edges of a tensor.
LOSS = "softmax and loss"
PARAMETERS = "parameters, optimizer"
OTHER = "other"
KINDS = (
  FORWARD, IMAGES, KERNELS, PRODUCTS, SUMS, PASSES, POOLS, MOVES, LOSS, PARAMETERS,
  OTHER,
)  # fmt: skip

_MOVING = frozenset(
  (
    "bitcast", "broadcast", "concatenate", "constant", "convert", "copy",
    "dynamic-slice", "dynamic-update-slice", "get-tuple-element", "pad", "parameter",
    "reshape", "reverse", "slice", "transpose", "tuple",
  )
)  # fmt: skip
# The pools of this project are sums of padded images on a GPU.
_POOLING = frozenset(("reduce-window", "select-and-scatter", "pad"))
_OF_CONVOLUTION = {
  "forward": FORWARD, "image gradient": IMAGES, "kernel gradient": KERNELS,
}  # fmt: skip


def by_kind(program: Program) -> dict[str, int]:
  """Bytes that a step reads and writes, by kind of work; every one of `KINDS`."""
  found: dict[str, int] = collections.Counter()
  for one in program.instructions:
    moved = program.traffic(one)
    if moved:
      found[kind(program, one)] += moved
  return {name: found[name] for name in KINDS}


def kind(program: Program, instruction: Instruction) -> str:
  """The kind of work, one of `KINDS`, of an instruction that passes over memory."""
  if instruction.kind == "forward" and instruction.is_backprop:
    return IMAGES
  if instruction.kind in _OF_CONVOLUTION:
    return _OF_CONVOLUTION[instruction.kind]
  if program.flops(instruction):
    return PRODUCTS
  computation = program.called(instruction)
  body = computation.body if computation else (instruction,)
  opcodes = {one.opcode for one in body}
  if not computation and not opcodes <= _MOVING:
    return OTHER
  return _by_origin(_origin(instruction, body)) or _by_opcodes(opcodes)


def _origin(instruction: Instruction, body: tuple[Instruction, ...]) -> str:
  """The path of JAX operations, or that of the last part that has one."""
  parts = (one for one in reversed(body) if one.opcode != "constant")
  return next((one.origin for one in (instruction, *parts) if one.origin), "")


def _by_origin(origin: str) -> str:
  """The kind of what does not belong to a layer's images, or nothing."""
  if not origin:
    return ""
  if "jvp(" not in origin or re.search(r"/gradients/|\.weights/", origin):
    return PARAMETERS
  in_network = re.search(r"jvp\(\w", origin.replace("jvp(jit(", ""))
  return "" if in_network and not re.search(r"\bhead\b", origin) else LOSS


def _by_opcodes(opcodes: set[str]) -> str:
  if "reduce" in opcodes:
    return SUMS
  if opcodes <= _MOVING:
    return MOVES
  return POOLS if opcodes & _POOLING else PASSES

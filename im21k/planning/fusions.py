"""A fused computation -> how much of each of its arguments it reads.

A fusion that takes a slice of a tensor, such as one branch of what a convolution made
for four, or a single value, does not read the rest.
"""

import collections
import math

from im21k.planning.hlo import Computation, Instruction

# Each value of the result needs one of the operand's at most.
_PARTS = ("slice", "dynamic-slice", "gather", "pad", "broadcast")
# Each needs several, even where there are as many of both.
_ALL = ("reduce-window", "scatter", "sort", "dot", "convolution")


def shares_read(computation: Computation) -> list[float]:
  """The share of each argument that a computation reads, 0 to 1.

  Where several instructions read a tensor, it is the sum of what each reads, as if they
  read different parts.
  """
  needed: dict[str, float] = collections.defaultdict(float)
  by_name = {one.name: one for one in computation.body}
  for one in reversed(computation.body):
    size = _size(one)
    needed[one.name] = size if one.is_root else min(size, needed[one.name])
    for name in set(one.operands) & by_name.keys():
      needed[name] += _of_operand(one, needed[one.name], _size(by_name[name]))
  return [needed[name] / max(1, _size(by_name[name])) for name in computation.arguments]


def _of_operand(one: Instruction, need: float, size: int) -> float:
  """Values of an operand of `size` that an instruction reads to make `need` values."""
  if not need:
    return 0
  if one.opcode == "concatenate":
    return size * need / _size(one)
  if one.opcode in _PARTS or (one.opcode not in _ALL and size == _size(one)):
    return min(size, need)
  return size


def _size(one: Instruction) -> int:
  return sum(math.prod(sides) for _, sides in one.shapes)

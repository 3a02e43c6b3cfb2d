"""An instruction of a scheduled program -> what its devices exchange, and over what.

In: an all-reduce, all-gather or reduce-scatter and the devices of a host. Out: how many
devices take part together, and how many hosts these are on. Devices are numbered host
by host, as in `replica_groups`.
"""

import math
import re
from typing import NamedTuple

from im21k.planning.hlo import Instruction

KINDS = ("all-reduce", "all-gather", "reduce-scatter")
_LISTED = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})\}")
# The short form of long lists: `[2,4]<=[8]`, or `[4,2]<=[2,4]T(1,0)` when transposed.
_COUNTED = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")


class Collective(NamedTuple):
  """What one collective sends.

  Attributes:
    kind: one of `KINDS`.
    bytes: of the whole array: what is added up, or what each device has in the end.
    devices: that exchange it with each other.
    hosts: that these are on, equally many on each.
    at_once: groups of devices that share a host's network, each with its own array.
  """

  kind: str
  bytes: int
  devices: int
  hosts: int
  at_once: int


def kind(instruction: Instruction) -> str:
  """One of `KINDS` if a collective begins here, else nothing."""
  name = instruction.opcode.removesuffix("-start")
  return name if name in KINDS else ""


def ends(instruction: Instruction) -> bool:
  """Whether a collective's result is awaited here."""
  return instruction.opcode.removesuffix("-done") in KINDS


def blocks(instruction: Instruction) -> bool:
  """Whether a collective is awaited where it begins."""
  return instruction.opcode in KINDS or (
    bool(kind(instruction)) and '"is_sync":true' in instruction.text
  )


def read(instruction: Instruction, given: int, devices: int, hosts: int) -> Collective:
  """The collective that begins with an instruction.

  Args:
    instruction: one of which `kind` says something.
    given: bytes of what each device gives.
    devices: of each host.
    hosts: of the run.
  """
  name = kind(instruction)
  group = _first_group(instruction.text) or tuple(range(devices * hosts))
  spanned = len({device // devices for device in group})
  whole = given * len(group) if name == "all-gather" else given
  share = len(group) // spanned  # members on each host
  return Collective(name, whole, len(group), spanned, max(1, devices // share))


def _first_group(text: str) -> tuple[int, ...]:
  """Devices of the first group, which all others are like; none: all are together."""
  if match := _LISTED.search(text):
    first = match.group(1).partition("}")[0]
    return tuple(int(number) for number in re.findall(r"\d+", first))
  if match := _COUNTED.search(text):
    size = int(match.group(2))
    sides = [int(side) for side in match.group(3).split(",")]
    turned = [int(axis) for axis in (match.group(4) or "").split(",") if axis]
    return tuple(_turned(n, sides, turned or [*range(len(sides))]) for n in range(size))
  return ()


def _turned(number: int, sides: list[int], axes: list[int]) -> int:
  """Element `number` of the transposed array of 0, 1, 2, … with these sides."""
  found = 0
  for axis in reversed(axes):
    number, index = divmod(number, sides[axis])
    found += index * math.prod(sides[axis + 1 :])
  return found

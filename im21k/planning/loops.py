"""A program with loops -> the instructions that run, those of each turn in order.

A batch in parts (`accumulate`) is a loop, whose body does nearly all work of the step.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from im21k.planning.hlo import CARRY, Computation, Instruction

_BODY = re.compile(r"body=%?([\w.\-]+)")
_COUNT = re.compile(r'known_trip_count"?[:=] *\{"?n"?[:=] *"?(\d+)')
_MOST = 2_000_000  # instructions of a loop; a longer one stays one instruction


def written_out(
  instructions: Sequence[Instruction], computations: Mapping[str, Computation]
) -> Iterator[Instruction]:
  """The instructions, with those of its body in place of each loop.

  A loop whose turns XLA has not counted stays one instruction. What a turn makes has
  the number of the turn behind its name; the state that it takes, and the loop's
  result, are views of what the turn before has made, with the opcode `CARRY`.
  """
  for one in instructions:
    body, count = _BODY.search(one.text), _COUNT.search(one.text)
    turns = int(count.group(1)) if count else 0
    if one.opcode != "while" or not body or not turns:
      yield one
      continue
    inner = tuple(written_out(computations[body.group(1)].body, computations))
    if len(inner) * turns > _MOST:
      yield one
      continue
    state = one.operands[0]
    for turn in range(turns):
      yield from _turn(inner, state, f".{one.name}.{turn}")
      root = next(each for each in inner if each.is_root)
      state = f"{root.name}.{one.name}.{turn}"
    yield dataclasses.replace(one, opcode=CARRY, operands=(state,), text="")


def _turn(
  body: Sequence[Instruction], state: str, suffix: str
) -> Iterator[Instruction]:
  """The instructions of one turn, which begins with this state."""
  for one in body:
    name = one.name + suffix
    if one.opcode == "parameter":
      yield dataclasses.replace(
        one, name=name, opcode=CARRY, operands=(state,), text="", is_root=False
      )
    else:
      operands = tuple(each + suffix for each in one.operands)
      yield dataclasses.replace(one, name=name, operands=operands, is_root=False)

"""Values of options -> ValueErrors of one line, where they are out of range."""

import difflib
import typing
from collections.abc import Sequence
from typing import Any, Literal

from im21k import machine


def check_choices(options: Any) -> None:
  """ValueError unless each field of a Literal type has one of its values."""
  for name, kind in typing.get_type_hints(type(options)).items():
    if typing.get_origin(kind) is not Literal:
      continue
    known, value = typing.get_args(kind), getattr(options, name)
    if value not in known:
      *others, last = map(repr, known)
      raise ValueError(
        f"{name} is {value!r}, but must be {', '.join(others)} or {last}"
        f"{nearest(str(value), known)}"
      )


def check_memory(memory: float | None) -> None:
  """ValueError unless a worker can have so many GB."""
  if memory is None:
    return
  if not memory > 0:
    raise ValueError(f"memory is {memory} GB, but must be more than 0")
  installed = machine.memory() / 1e9
  if memory > installed:
    raise ValueError(f"memory is {memory} GB, but this machine has {installed:.1f} GB")


def nearest(word: str, known: Sequence[str]) -> str:
  """`: did you mean 'skip'?`, or nothing where no known word is similar."""
  close = difflib.get_close_matches(word, known, n=1)
  return f": did you mean {close[0]!r}?" if close else ""

"""One value of a config, from a file or a command line -> the value, type checked."""

import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

from im21k.models.registry import nearest
from im21k.training.durations import UNITS, Duration, Durations


class Text(str):
  """A value as it was typed on a command line, to be parsed by the type of its key."""


_NONE: Any = type(None)
_NAMES: dict[Any, str] = {
  int: "a whole number",
  float: "a number",
  bool: "true or false",
  str: "text",
  _NONE: "none",
}
_WORDS = {"true": True, "false": False, "1": True, "0": False}


def kind_name(kind: Any) -> str:
  """The type in words: `a whole number or none`."""
  arguments = typing.get_args(kind)
  if kind in (Duration, Durations):
    many = "numbers" if kind is Durations else "a number"
    return f"{many} of {', '.join(UNITS[:-1])} or {UNITS[-1]}"
  if typing.get_origin(kind) is Literal:
    return " or ".join(map(str, arguments))
  if typing.get_origin(kind) is tuple:
    return "numbers separated by commas"
  if arguments:
    return " or ".join(map(kind_name, arguments))
  return _NAMES.get(kind, str(kind))


def is_none(value: Any) -> bool:
  """Whether a value is None, or was typed as such."""
  return value is None or (isinstance(value, Text) and value.lower() == "none")


def convert(kind: Any, value: Any, name: str) -> Any:
  """The value as `kind`; ValueError says what `name` must be."""
  arguments = typing.get_args(kind)
  if typing.get_origin(kind) is Literal and value not in arguments:
    raise ValueError(f"{name} is {value!r}{nearest(str(value), arguments)}")
  try:
    return _converted(kind, value)
  except (TypeError, ValueError):
    raise ValueError(f"{name} is {value!r}, but must be {kind_name(kind)}") from None


def _converted(kind: Any, value: Any) -> Any:
  arguments = typing.get_args(kind)
  if typing.get_origin(kind) is Literal:
    return str(value)
  if typing.get_origin(kind) is tuple:
    return tuple(_converted(arguments[0], part) for part in _parts(value))
  if arguments:  # a union
    return _first_that_fits(arguments, value)
  if kind is _NONE and is_none(value):
    return None
  if isinstance(value, Text):
    return _parsed(kind, value)
  if kind not in _NAMES:  # A model's field of a type that no text can give.
    return value
  if kind is float and type(value) in (int, float) and math.isfinite(value):
    return value
  if type(value) is kind:
    return value
  raise TypeError


def _first_that_fits(kinds: tuple[Any, ...], value: Any) -> Any:
  # What is typed as "none" is None wherever that is allowed, not text.
  for kind in sorted(kinds, key=lambda kind: kind is not _NONE):
    try:
      return _converted(kind, value)
    except (TypeError, ValueError):
      continue
  raise TypeError


def _parts(value: Any) -> list[Any]:
  if isinstance(value, Text):
    return [Text(part.strip()) for part in value.strip("()[] ").rstrip(",").split(",")]
  if isinstance(value, list | tuple):
    return list(value)
  raise TypeError


def _parsed(kind: Any, text: Text) -> Any:
  if kind is str:
    return str(text)
  if kind is bool:
    if text.lower() not in _WORDS:
      raise ValueError
    return _WORDS[text.lower()]
  if kind is int:
    return int(text)
  if kind is float:
    number = float(text)
    if not math.isfinite(number):
      raise ValueError
    return int(text) if text.removeprefix("-").isdecimal() else number
  raise TypeError


def duration(kind: Any, value: Any, name: str) -> Duration | Durations:
  """A duration from a dict of its one unit.

  Raises:
    ValueError: not exactly one known unit is given, or the number is not above 0.
  """
  given = value if isinstance(value, Mapping) else {}
  given = {unit: amount for unit, amount in given.items() if amount is not None}
  (unit, amount), *more = given.items() or [("", None)]
  if more or unit not in UNITS:
    shown = {unit: amount for unit, amount in given.items()} or value
    raise ValueError(
      f"{name} must be given in exactly one of {', '.join(UNITS)}, but is {shown}"
    )
  if kind is Durations:
    amounts = convert(tuple[float, ...], amount, f"{name}.{unit}") if amount else ()
    return Durations(amounts, unit)
  number = convert(float, amount, f"{name}.{unit}")
  if number < 0:
    raise ValueError(f"{name}.{unit} is {number}, but must be 0 or more")
  return Duration(number, unit)

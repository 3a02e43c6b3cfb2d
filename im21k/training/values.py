"""One value of a config, from a file or a command line -> the value, type checked."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

from im21k.models.registry import nearest
from im21k.training.durations import UNITS, Duration, Durations


class Text(str):
  """A value as it was typed on a command line, to be parsed by the type of its key."""


# The largest float32: a larger number would be infinite on a device.
_LARGEST = 3.4028234663852886e38


@dataclasses.dataclass(frozen=True)
class Bounds:
  """The numbers that a key may have.

  Attributes:
    least, most: smallest and largest.
    above: whether `least` itself is not allowed.
    below: whether `most` itself is not allowed.
  """

  least: float = -_LARGEST
  most: float = _LARGEST
  above: bool = False
  below: bool = False

  def check(self, value: Any, name: str) -> None:
    """ValueError, naming the key, if a number of `value` is out of bounds."""
    for number in value if isinstance(value, tuple) else (value,):
      if type(number) not in (int, float):
        continue  # None, or a value that is no number.
      low = number < self.least or (self.above and number == self.least)
      high = number > self.most or (self.below and number == self.most)
      if not low and not high:
        continue
      if self == SHARE:
        allowed = "from 0 to 1"
      elif low:
        allowed = f"above {self.least:g}" if self.above else f"{self.least:g} or more"
      else:
        allowed = f"{'below' if self.below else 'at most'} {self._most}"
      raise ValueError(f"{name} is {shown(value)}, but must be {allowed}")

  @property
  def _most(self) -> str:
    return f"{self.most:,}" if isinstance(self.most, int) else f"{self.most:g}"


ANY, SHARE = Bounds(), Bounds(0, 1)
_DURATION = Bounds(0, 10**15)


def shown(value: Any) -> str:
  """A value for a message: on one line, and not longer than that."""
  try:
    text = repr(value)
  except (ValueError, RecursionError):  # As for a number of 5,000 digits.
    text = f"a value of type {type(value).__name__}"
  return text if len(text) <= 60 else f"{text[:60]}…"


_NONE: Any = type(None)
_Number: Any = int | float
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
    named = typing.get_origin(arguments[0]) is Literal
    many = f"any of {', '.join(typing.get_args(arguments[0]))}" if named else "numbers"
    return f"{many} separated by commas"
  if typing.get_origin(kind) is Mapping:
    return "pairs NAME=VALUE separated by commas"
  if kind == _Number:
    return "a number"
  if arguments:
    return " or ".join(map(kind_name, arguments))
  return _NAMES.get(kind, str(kind))


def is_none(value: Any) -> bool:
  """Whether a value is None, or was typed as such."""
  return value is None or (isinstance(value, Text) and value.lower() == "none")


def convert(kind: Any, value: Any, name: str) -> Any:
  """The value as `kind`; ValueError says what `name` must be."""
  arguments = typing.get_args(kind)
  if typing.get_origin(kind) is Literal and not (
    isinstance(value, str) and value in arguments
  ):
    near = nearest(value if isinstance(value, str) else "", arguments)
    raise ValueError(f"{name} is {shown(value)}{near}")
  try:
    return _converted(kind, value)
  except (TypeError, ValueError, OverflowError):
    raise ValueError(
      f"{name} is {shown(value)}, but must be {kind_name(kind)}"
    ) from None


def _converted(kind: Any, value: Any) -> Any:
  arguments = typing.get_args(kind)
  if typing.get_origin(kind) is Literal:
    if value not in arguments:
      raise ValueError
    return str(value)
  if typing.get_origin(kind) is tuple:
    if typing.get_origin(arguments[0]) is Literal:
      return _names(arguments[0], value)
    return tuple(_converted(arguments[0], part) for part in _parts(value))
  if typing.get_origin(kind) is Mapping:
    return {
      _converted(arguments[0], name): _converted(arguments[1], each)
      for name, each in _pairs(value)
    }
  if arguments:  # a union
    return _first_that_fits(arguments, value)
  if kind is _NONE and is_none(value):
    return None
  if isinstance(value, Text):
    return _parsed(kind, value)
  if kind not in _NAMES:  # A model's field of a type that no text can give.
    return value
  if kind is float and type(value) in (int, float) and math.isfinite(value):
    return float(value)
  if kind is str and isinstance(value, str) and "\0" in value:
    raise ValueError  # No path has it.
  if type(value) is kind and (kind is not float or math.isfinite(value)):
    return value
  raise TypeError


def _first_that_fits(kinds: tuple[Any, ...], value: Any) -> Any:
  # What is typed as "none" is None wherever that is allowed, and a=b is a mapping: both
  # would be text too.
  first = (_NONE, Mapping)
  for kind in sorted(kinds, key=lambda k: (typing.get_origin(k) or k) not in first):
    try:
      return _converted(kind, value)
    except (TypeError, ValueError, OverflowError):
      continue
  raise TypeError


def _parts(value: Any) -> list[Any]:
  if isinstance(value, Text):
    return [Text(part.strip()) for part in value.strip("()[] ").rstrip(",").split(",")]
  if isinstance(value, list | tuple):
    return list(value)
  raise TypeError


def _names(kind: Any, value: Any) -> tuple[str, ...]:
  """Those of a list, or of text such as `a,b`, each once; none: no text, or `none`."""
  if isinstance(value, str):
    value = [] if value.lower() in ("", "none") else _parts(Text(value))
  parts = [] if value is None else _parts(value)
  return tuple(dict.fromkeys(_converted(kind, part) for part in parts))


def _pairs(value: Any) -> list[tuple[Any, Any]]:
  """Those of a mapping, or of text such as `a=b,c=d`."""
  if isinstance(value, Mapping):
    return list(value.items())
  if not isinstance(value, str):
    raise TypeError
  pairs = [part.partition("=") for part in value.split(",")]
  names = [name.strip() for name, _, _ in pairs]
  if not all(equals for _, equals, _ in pairs) or len(set(names)) < len(names):
    raise ValueError
  return [(name, each.strip()) for name, (_, _, each) in zip(names, pairs, strict=True)]


def _parsed(kind: Any, text: Text) -> Any:
  if kind is str:
    if "\0" in text:
      raise ValueError
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
    return number
  raise TypeError


def duration(kind: Any, value: Any, name: str) -> Duration | Durations:
  """A duration from a dict of its one unit.

  Raises:
    ValueError: not exactly one known unit is given, or a number is below 0 or too large
      to be a duration.
  """
  given = value if isinstance(value, Mapping) else {}
  given = {unit: amount for unit, amount in given.items() if amount is not None}
  (unit, amount), *more = given.items() or [("", None)]
  if more or unit not in UNITS:
    near = "" if more or not unit else nearest(str(unit), UNITS)
    raise ValueError(
      f"{name} must be given in exactly one of {', '.join(UNITS)}, but is "
      f"{shown(given or value)}{near}"
    )
  name = f"{name}.{unit}"
  if kind is Durations:
    empty = isinstance(amount, str | list | tuple) and not amount
    amounts = () if empty else convert(tuple[_Number, ...], amount, name)
    _DURATION.check(amounts, name)
    return Durations(amounts, unit)
  number = convert(_Number, amount, name)
  _DURATION.check(number, name)
  return Duration(number, unit)

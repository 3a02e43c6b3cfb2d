"""Fields of a JSON document -> values whose types have been checked.

Every error is a ValueError of one line: the file, the field with the way to it, what it
is and what it must be. `documents.read` reads such documents.
"""

import math
import reprlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")
_MISSING = object()
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60


class Fields:
  """An object of a document; each method takes one field and checks it.

  Limits are inclusive but `above`. A field that may be missing has a `default=`, which
  is returned as it is. `done` refuses fields that no method has taken.

  Attributes:
    document: the object itself.
    where: the file, for messages.
  """

  def __init__(self, document: Any, where: object, remedy: str = "", path: str = ""):
    """Takes what should be an object.

    Args:
      document: the parsed JSON.
      where: the file, for messages.
      remedy: what to do about a wrong field; ends every message.
      path: the way to this object, where it is part of another.

    Raises:
      ValueError: it is no object.
    """
    self.where, self._remedy, self._path = str(where), remedy, path
    self._taken: set[str] = set()
    if not isinstance(document, dict):
      raise self._wrong("", document, "a JSON object")
    self.document: dict[str, Any] = document

  def __contains__(self, name: str) -> bool:
    return name in self.document

  def any(self, name: str, default: Any = _MISSING) -> Any:
    """A field of any type; without a default, ValueError if it is missing."""
    self._taken.add(name)
    if name in self.document:
      return self.document[name]
    if default is _MISSING:
      raise self.error(name, "is missing")
    return default

  def integer(
    self, name: str, at_least: int | None = None, at_most: int | None = None, **or_: Any
  ) -> int:
    """A whole number, not `true` and not 1.0."""

    def is_sound(value: Any) -> bool:
      is_whole = isinstance(value, int) and not isinstance(value, bool)
      return is_whole and _within(value, at_least, at_most)

    must = "a whole number" + _range(at_least, at_most)
    return self._checked(name, is_sound, must, int, **or_)

  def number(
    self,
    name: str,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    **or_: Any,
  ) -> float:
    """A finite number, whole or not."""

    def is_sound(value: Any) -> bool:
      return _is_finite(value, above) and _within(value, at_least, at_most)

    must = "a finite number" + _range(at_least, at_most, above)
    return self._checked(name, is_sound, must, float, **or_)

  def numbers(
    self, name: str, count: int, above: float | None = None, **or_: Any
  ) -> tuple[float, ...]:
    """A list of `count` finite numbers."""

    def is_sound(value: Any) -> bool:
      is_list = isinstance(value, list) and len(value) == count
      return is_list and all(_is_finite(item, above) for item in value)

    must = f"a list of {count} finite numbers" + _range(above=above)

    def convert(values: list[float]) -> tuple[float, ...]:
      return tuple(map(float, values))

    return self._checked(name, is_sound, must, convert, **or_)

  def text(self, name: str, one_of: Collection[str] = (), **or_: Any) -> str:
    """A string, one of these if any."""

    def is_sound(value: Any) -> bool:
      return isinstance(value, str) and (not one_of or value in one_of)

    must = f"one of {', '.join(one_of)}" if one_of else "a string"
    return self._checked(name, is_sound, must, str, **or_)

  def texts(self, name: str, **or_: Any) -> tuple[str, ...]:
    """A list of strings."""

    def is_sound(value: Any) -> bool:
      return isinstance(value, list) and all(isinstance(item, str) for item in value)

    must = "a list of strings"
    return self._checked(name, is_sound, must, tuple, **or_)

  def boolean(self, name: str, **or_: Any) -> bool:
    """`true` or `false`."""

    def is_sound(value: Any) -> bool:
      return isinstance(value, bool)

    return self._checked(name, is_sound, "true or false", bool, **or_)

  def object(self, name: str) -> "Fields":
    """An object within."""
    return self._inside(self.any(name), name)

  def objects(self, name: str) -> "list[Fields]":
    """A list of objects."""
    values = self.any(name)
    if not isinstance(values, list):
      raise self._wrong(name, values, "a list")
    return [self._inside(value, f"{name}[{at}]") for at, value in enumerate(values)]

  def parts(self) -> "Iterator[tuple[str, Fields]]":
    """Name and object of every field, where all must be objects."""
    for name in self.document:
      yield name, self.object(name)

  def version(self, newest: int, oldest: int = 1, name: str = "format_version") -> int:
    """The version of the format; ValueError says if a newer program wrote it."""
    value = self.integer(name)
    if not oldest <= value <= newest:
      known = f"{oldest} to {newest}" if oldest < newest else f"{newest}"
      then = "update im21k" if value > newest else "an early im21k wrote it"
      raise self.error(
        name, f"is {_brief(value)}, but this im21k reads {known}: {then}"
      )
    return value

  def done(self) -> None:
    """Raises ValueError if there are fields that nothing has taken."""
    if unknown := [name for name in self.document if name not in self._taken]:
      raise self.error(unknown[0], "is not a field of this format")

  def error(self, name: str, reason: str) -> ValueError:
    """The error for a field, for the caller's own checks: file, field, reason."""
    field = self._way_to(name)
    text = " ".join(filter(None, (field, reason)))
    return ValueError(f"{self.where}: {text}" + (self._remedy and f"; {self._remedy}"))

  def _wrong(self, name: str, value: Any, must: str) -> ValueError:
    subject = "" if name or self._path else "it "
    return self.error(name, f"{subject}is {_brief(value)}, but must be {must}")

  def _inside(self, value: Any, name: str) -> "Fields":
    return Fields(value, self.where, self._remedy, self._way_to(name))

  def _way_to(self, name: str) -> str:
    # A name may come from the document: it may be long, or hold line ends.
    return ".".join(filter(None, (self._path, _brief(name)[1:-1])))

  def _checked(
    self,
    name: str,
    is_sound: Callable[[Any], bool],
    must: str,
    convert: Callable[[Any], _T],
    default: Any = _MISSING,
  ) -> _T:
    value = self.any(name, default)
    if value is default:
      return value  # type: ignore[no-any-return]
    if not is_sound(value):
      raise self._wrong(name, value, must)
    return convert(value)


def _is_finite(value: Any, above: float | None = None) -> bool:
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  try:
    return math.isfinite(value) and (above is None or value > above)
  except OverflowError:  # A whole number beyond the largest float.
    return False


def _within(value: float, least: float | None, most: float | None) -> bool:
  return (least is None or value >= least) and (most is None or value <= most)


def _range(
  least: float | None = None, most: float | None = None, above: float | None = None
) -> str:
  limits = {"of at least": least, "of at most": most, "above": above}
  words = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
  return f" {' and '.join(words)}" if words else ""


def _brief(value: Any) -> str:
  return _BRIEF.repr(value)

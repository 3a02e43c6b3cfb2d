"""Keys -> rows of text, for help and documentation."""

from collections.abc import Iterable
from typing import Any

from im21k.training.durations import Duration
from im21k.training.keys import REQUIRED, Key
from im21k.training.values import kind_name


def describe(keys: Iterable[Key]) -> list[dict[str, str]]:
  """A row of text for each key, for help and documentation."""
  return [
    {
      "key": one.name,
      "type": kind_name(one.kind),
      "default": "required" if one.default is REQUIRED else _shown(one.default),
      "unit": one.unit or "",
      "on resume": "fixed" if one.fixed else "may change",
      "text": _only(one.variants) + one.text,
    }
    for one in keys
  ]


def _only(variants: tuple[str, ...]) -> str:
  return f"({', '.join(variants)}) " if variants else ""


def _shown(value: Any) -> str:
  if isinstance(value, Duration):
    return f"{value.amount:g} {value.unit}"
  if value == ():
    return "none"
  return str(value).lower() if isinstance(value, bool | None) else str(value)

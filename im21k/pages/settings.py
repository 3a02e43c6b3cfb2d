"""A recorded config -> what differs from the defaults, and all of it."""

import json
from collections.abc import Mapping
from typing import Any

from im21k.training import eval_crop
from im21k.training.config import all_keys
from im21k.training.durations import UNITS
from im21k.training.key_table import describe
from im21k.training.keys import REQUIRED, Key


def changed(config: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
  """Key, value, default and meaning of each key whose value is not its default.

  The default of keys that every config must give is "".
  """
  flat = flatten(config)
  flat |= eval_crop.that_follow(flat)
  rows, seen = [], set()
  every = all_keys()
  for key, described in zip(every, describe(every), strict=True):
    if key.name not in flat or key.name in seen or not _is_of(key, flat):
      continue
    seen.add(key.name)
    value = flat[key.name]
    if key.default is REQUIRED or _plain(value) != _plain(key.default):
      text = described["text"].partition(") ")[2] if key.variants else described["text"]
      default = "" if key.default is REQUIRED else described["default"]
      rows.append((key.name, shown(value), default, text))
  return rows


def _is_of(key: Key, flat: Mapping[str, Any]) -> bool:
  """Whether the variant that a section has is one with this key and its default."""
  section = key.name
  while key.variants and section:
    section = section.rpartition(".")[0]
    if f"{section}.name" in flat:
      return flat[f"{section}.name"] in key.variants
  return True


def everything(config: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Key and value of all that a run has recorded."""
  return [(name, shown(value)) for name, value in flatten(config).items()]


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
  """Values by dotted name; a duration is one value."""
  flat: dict[str, Any] = {}

  def add(value: Any, name: str) -> None:
    if isinstance(value, Mapping) and value and not set(value) <= set(UNITS):
      for key, inner in value.items():
        add(inner, f"{name}.{key}" if name else str(key))
    else:
      flat[name] = value

  add(config, "")
  return flat


def shown(value: Any) -> str:
  """A value as text: `65 epochs`, `4, 6, 8 epochs`, `none`, `wide`."""
  if isinstance(value, str):
    return value
  if isinstance(value, Mapping) and len(value) == 1 and set(value) <= set(UNITS):
    unit, amount = next(iter(value.items()))
    amounts = amount if isinstance(amount, list) else [amount]
    return f"{', '.join(map(_number, amounts))} {unit}"
  return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> str:
  return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: Any) -> Any:
  """A default as JSON holds it."""
  if hasattr(value, "unit"):
    amounts = getattr(value, "amounts", None)
    return {value.unit: value.amount if amounts is None else list(amounts)}
  return list(value) if isinstance(value, tuple) else value

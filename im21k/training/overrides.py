"""Settings by dotted name, over a nested config: `{"mix.mixup": "0.2"}`."""

from collections.abc import Mapping, Sequence
from typing import Any

from im21k.models.registry import nearest
from im21k.training import eval_keys
from im21k.training.durations import Duration, Durations
from im21k.training.keys import Key
from im21k.training.values import Text, convert, shown

_OPTION = "--config."


def split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
  """Takes `--config.NAME=VALUE` and `--config.NAME VALUE` out of a command line.

  Returns:
    The settings, and the arguments that are left; `--config=FILE` and `--config FILE`
    become the positional argument FILE.

  Raises:
    ValueError: an option has no value, or a name occurs twice.
  """
  settings: dict[str, str] = {}
  rest: list[str] = []
  words = iter(arguments)
  for word in words:
    if not word.startswith(_OPTION):
      if word != "--config":
        rest.append(word.removeprefix("--config="))
      continue
    name, equals, value = word.removeprefix(_OPTION).partition("=")
    if not equals:
      following = next(words, None)
      if following is None or following.startswith("--"):
        raise ValueError(f"{word} has no value: write {word}=VALUE")
      value = following
    if name in settings:
      raise ValueError(f"{_OPTION}{name} is given twice: remove one")
    settings[name] = Text(value)
  return settings, rest


def apply(
  document: Mapping[str, Any], settings: Mapping[str, Any], keys: Sequence[Key]
) -> dict[str, Any]:
  """A copy of a nested config with settings in place of its values.

  A duration that is set in one unit replaces the one that the config gives in another.
  A section whose `name` is set loses the values that its new variant has no key for, or
  one with another meaning or default.

  Raises:
    ValueError: there is no such key; the message offers the nearest.
  """
  for key in keys:
    units = [name for name in key.settable if name in settings]
    if len(units) > 1:
      raise ValueError(
        f"{key.name} is given in {len(units)} units: keep one of {units}"
      )
    below = [name for name in settings if name.startswith(f"{key.name}.")]
    if key.is_mapping and key.name in settings and below:
      raise ValueError(
        f"{key.name} is given as a whole and by name ({', '.join(below)}): keep one"
      )
  result = _copied(document, "")
  # Which keys a section has depends on its name.
  for name in sorted(settings, key=lambda name: not name.endswith(".name")):
    _set(result, name, settings[name], keys)
  return result


def _copied(document: Mapping[str, Any], name: str) -> dict[str, Any]:
  """A copy of nested dicts; no key has more than three parts."""
  if name.count(".") > 3:
    raise ValueError(f"config key {shown(name)} is nested too deep")
  return {
    key: _copied(value, f"{name}.{key}" if name else str(key))
    if isinstance(value, Mapping)
    else value
    for key, value in document.items()
  }


def _set(document: dict[str, Any], name: str, value: Any, keys: Sequence[Key]) -> None:
  settable = {one for key in keys for one in key.settable}
  *path, last = name.split(".")
  parent = ".".join(path)
  # What a mapping holds has names of the user's own.
  settable |= {name for key in keys if key.name == parent and key.is_mapping}
  if name not in settable and not (_is_above(name, settable) and _is_whole(value)):
    if _is_above(name, settable):
      raise ValueError(
        f"config key {name!r} has keys of its own: set "
        + ", ".join(sorted(one for one in settable if one.startswith(f"{name}.")))
      )
    raise ValueError(
      f"unknown config key {shown(name)}{nearest(name[:80], tuple(sorted(settable)))}"
    )
  inner = document
  for part in path:
    inner[part] = _opened(part, inner.get(part))
    inner = inner[part]
  if any(key.name == parent and key.kind in (Duration, Durations) for key in keys):
    inner.clear()
  if last == "name":
    defaults = [str(key.default) for key in keys if key.name == name]
    before = str(inner.get("name", *defaults[:1]))
    if before != value:
      _drop_others(inner, parent, {before, str(value)}, keys)
  inner[last] = value


def _opened(part: str, value: Any) -> dict[str, Any]:
  """What a key holds by name; a folder of `eval_data` without a name has one, too."""
  if isinstance(value, dict):
    return value
  if part != "eval_data" or not isinstance(value, str):
    return {}
  folders: str | dict[str, str] = convert(str | Mapping[str, str], value, part)
  return eval_keys.checked(folders)


def _is_above(name: str, settable: set[str]) -> bool:
  return any(one.startswith(f"{name}.") for one in settable)


def _is_whole(value: Any) -> bool:
  """Whether a value stands for a whole section: a dict, or none."""
  return value is None or isinstance(value, Mapping) or value == "none"


def _drop_others(
  section: dict[str, Any], parent: str, variants: set[str], keys: Sequence[Key]
) -> None:
  """Drops what these variants of a section do not have in common."""
  common = [key for key in keys if variants <= set(key.variants or variants)]
  known = {
    key.name.removeprefix(f"{parent}.").partition(".")[0]
    for key in common
    if key.name.startswith(f"{parent}.")
  }
  for name in [name for name in section if name not in known]:
    del section[name]

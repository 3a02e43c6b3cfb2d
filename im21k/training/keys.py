"""Config keys, each declared once: as a field of a frozen dataclass, by `key`.

In come classes whose fields were made by `key` and `section`. Out come instances built
from nested dicts, nested dicts for JSON, and values and descriptions by dotted name.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from im21k.models.registry import nearest
from im21k.training.durations import UNITS, Duration, Durations
from im21k.training.values import (
  ANY,
  Bounds,
  Text,
  convert,
  duration,
  is_none,
  shown,
)

REQUIRED: Any = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Key:
  """All that is known of a key.

  Attributes:
    name: dotted: `mix.mixup`.
    kind: type of its value.
    default: REQUIRED if a config must give it.
    text: a sentence that describes it.
    unit: of its value.
    fixed: whether a run that is resumed must have the same value as before.
    bounds: of its numbers.
    variants: of its section, by `name`, that have this key; none: all.
  """

  name: str
  kind: Any
  default: Any
  text: str
  unit: str | None
  fixed: bool
  bounds: Bounds = ANY
  variants: tuple[str, ...] = ()

  @property
  def settable(self) -> tuple[str, ...]:
    """The names that a command line can set: a duration has one for each unit."""
    if self.kind in (Duration, Durations):
      return tuple(f"{self.name}.{unit}" for unit in UNITS)
    return (self.name,)

  @property
  def is_mapping(self) -> bool:
    """Whether values by name can be its value, each of which can be set."""
    kinds = (self.kind, *typing.get_args(self.kind))
    return any(typing.get_origin(kind) is Mapping for kind in kinds)


def key(
  default: Any,
  text: str,
  unit: str | None = None,
  fixed: bool = True,
  bounds: Bounds = ANY,
) -> Any:
  """A field that is a config key; see `Key`."""
  metadata = {"text": text, "unit": unit, "fixed": fixed, "bounds": bounds}
  return dataclasses.field(default=default, metadata=metadata)


@typing.runtime_checkable
class OpenSection(Protocol):
  """A section whose keys are known elsewhere; its value is a dict."""

  def listing(self, name: str) -> Iterator[Key]:
    """All keys of the section, which is called `name`."""

  def build(self, value: Any, known: tuple[str, ...], name: str) -> dict[str, Any]:
    """The checked value; see `build`."""


def section(
  default: Any,
  text: str = "",
  variants: Mapping[str, type] | None = None,
  opened: OpenSection | None = None,
) -> Any:
  """A field that holds further keys: its type is a dataclass with fields by `key`.

  With `variants` the value is one of several dataclasses, chosen by the key `name`,
  which `text` describes. With `opened` it is a dict.
  """
  metadata = {"section": True, "text": text, "variants": variants, "opened": opened}
  return dataclasses.field(default=default, metadata=metadata)


def listing(cls: type, prefix: str = "") -> Iterator[Key]:
  """All keys of a class and of its sections, those of every variant included."""
  for field in dataclasses.fields(cls):
    name = prefix + field.name
    if not field.metadata.get("section"):
      yield Key(name, field.type, field.default, **field.metadata)
    elif opened := field.metadata["opened"]:
      yield from opened.listing(name)
    elif variants := field.metadata["variants"]:
      fixed = all(one.fixed for v in variants.values() for one in listing(v))
      chosen: Any = Literal[tuple(variants)]
      default = REQUIRED if field.default is REQUIRED else variant_name(field.default)
      yield Key(f"{name}.name", chosen, default, field.metadata["text"], None, fixed)
      yield from _of_variants(name, variants)
    else:
      yield from listing(section_class(field), f"{name}.")


def _of_variants(name: str, variants: Mapping[str, type]) -> Iterator[Key]:
  """The keys of a section's variants; one that several share comes once."""
  owners: dict[Key, list[str]] = {}
  for chosen_by, variant in variants.items():
    for one in listing(variant, f"{name}."):
      owners.setdefault(one, []).append(chosen_by)
  for one, names in owners.items():
    yield dataclasses.replace(one, variants=tuple(names) * (len(names) < len(variants)))


def section_class(field: dataclasses.Field[Any]) -> type:
  """The dataclass of a section that has no variants, which may be optional."""
  classes = [one for one in typing.get_args(field.type) if one is not types.NoneType]
  return typing.cast(type, classes[0] if classes else field.type)


def variant_name(variant: Any) -> str:
  """By which `name` a config chooses this variant of a section."""
  return str(variant.name)


def build(cls: type, document: Any, known: tuple[str, ...], prefix: str = "") -> Any:
  """An instance of `cls` from a nested dict.

  Args:
    cls: with fields by `key` and `section`.
    document: values by key; values of class `Text` are parsed.
    known: all dotted names, to offer the nearest.
    prefix: of the dotted names of these keys.

  Raises:
    ValueError: a key is unknown or missing, or a value does not fit.
  """
  if not isinstance(document, Mapping):
    what = prefix.removesuffix(".")
    raise ValueError(f"config key {what!r} has keys of its own: set {what}.NAME")
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for name in document:
    if name not in fields:
      where = f"{prefix}{name}"
      raise ValueError(f"unknown config key {shown(where)}{nearest(where[:80], known)}")
  missing = [
    f"{prefix}{name}"
    for name, field in fields.items()
    if field.default is REQUIRED and name not in document
  ]
  if missing:
    raise ValueError(f"the config lacks {', '.join(missing)}")
  return cls(
    **{
      name: _field(fields[name], value, known, f"{prefix}{name}")
      for name, value in document.items()
    }
  )


def _field(
  field: dataclasses.Field[Any], value: Any, known: tuple[str, ...], name: str
) -> Any:
  if not field.metadata.get("section"):
    if field.type in (Duration, Durations):
      return duration(field.type, value, name)
    converted = convert(field.type, value, name)
    field.metadata["bounds"].check(converted, name)
    return converted
  if types.NoneType in typing.get_args(field.type) and is_none(value):
    return None
  if opened := field.metadata["opened"]:
    return opened.build(value, known, name)
  variants = field.metadata["variants"]
  if not variants:
    return build(section_class(field), value, known, f"{name}.")
  rest = dict(value) if isinstance(value, Mapping) else {"name": value}
  if "name" not in rest and field.default is REQUIRED:
    raise ValueError(f"the config lacks {name}.name{nearest('', tuple(variants))}")
  given = rest.pop("name") if "name" in rest else variant_name(field.default)
  chosen = convert(Literal[tuple(variants)], given, f"{name}.name")
  for inner in rest:
    owners = [key for key, variant in variants.items() if _has(variant, inner)]
    if owners and chosen not in owners:
      raise ValueError(
        f"config key {name}.{inner} needs {name}.name {' or '.join(owners)}, but it is "
        f"{chosen}"
      )
  return build(variants[chosen], rest, known, f"{name}.")


def _has(cls: type, name: str) -> bool:
  return name in {field.name for field in dataclasses.fields(cls)}


def document(instance: Any) -> dict[str, Any]:
  """The nested dict from which `build` makes an equal instance; ready for JSON."""
  result: dict[str, Any] = {}
  for field in dataclasses.fields(instance):
    value = getattr(instance, field.name)
    if field.metadata.get("variants"):
      result[field.name] = {"name": variant_name(value), **document(value)}
    elif isinstance(value, Duration):
      result[field.name] = {value.unit: value.amount}
    elif isinstance(value, Durations):
      result[field.name] = {value.unit: list(value.amounts)}
    elif dataclasses.is_dataclass(value):
      result[field.name] = document(value)
    else:
      result[field.name] = list(value) if isinstance(value, tuple) else value
  return result


def flat(instance: Any) -> dict[str, Any]:
  """Values by dotted name; a key whose value is a dict, as of a duration, is one."""
  whole = {one.name for one in listing(type(instance))}
  result: dict[str, Any] = {}

  def add(value: Any, name: str) -> None:
    if isinstance(value, dict) and name not in whole:
      for key_, inner in value.items():
        add(inner, f"{name}.{key_}" if name else key_)
    else:
      result[name] = value

  add(document(instance), "")
  return result


__all__ = [
  "REQUIRED", "Key", "Text", "build", "document", "flat", "key", "listing",
  "section",
]  # fmt: skip

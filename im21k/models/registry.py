"""Models by name: `create("inception_bn_21k", num_classes=10)`.

A misspelt name or field is an error that suggests the nearest known one.
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any

from flax import linen as nn

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register(builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
  """Registers a function that returns a module, under the function's name."""
  _BUILDERS[builder.__name__] = builder
  return builder


def names() -> tuple[str, ...]:
  """The names that `create` knows, sorted."""
  return tuple(sorted(_BUILDERS))


def create(name: str, **fields: Any) -> nn.Module:
  """Builds the model called `name`, with `fields` in place of its defaults.

  Raises:
    ValueError: the name or one of the fields is not known, or a value is wrong.
  """
  if name not in _BUILDERS:
    raise ValueError(f"unknown model {name!r}{nearest(name, names())}")
  known = _fields(_BUILDERS[name]())
  for field in fields:
    if field not in known:
      raise ValueError(f"model {name} has no field {field!r}{nearest(field, known)}")
  return _BUILDERS[name](**fields)


def nearest(word: str, known: tuple[str, ...]) -> str:
  """The end of an error message: the known words that are closest to `word`."""
  close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
  if close:
    return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
  return "; known: " + ", ".join(known)


def check_limits(module: nn.Module, **limits: tuple[float, float]) -> None:
  """ValueError if a field is beyond its limits; None and numbers between may be.

  Files from elsewhere say how large a model is: beyond, they could ask for any memory.
  """
  for field, (least, most) in limits.items():
    value = getattr(module, field)
    if value is not None and not least <= value <= most:
      raise ValueError(f"{field} is {value}, but must be {least:,} to {most:,}")


def _fields(module: nn.Module) -> tuple[str, ...]:
  return tuple(
    f.name for f in dataclasses.fields(module) if f.name not in ("parent", "name")
  )

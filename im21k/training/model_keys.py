"""The section `model`: name of a registered model, and fields for its defaults."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from flax import linen as nn

from im21k import models
from im21k.models.registry import nearest
from im21k.training.keys import REQUIRED, Key
from im21k.training.values import SHARE, Bounds, convert, shown

# These follow from other keys, or are set by the training step.
_NOT_KEYS = {
  "parent": "",
  "name": "",
  "bn_axis_name": "set sync_bn",
  "reduce": "set overlap",
  "prepare": "set mean and std",
  "observe": "set remat",
}


# Value of `remat` that leaves the policies to the device's memory: see `policies`.
FIT = "fit"


class ModelKeys:
  """Keys that depend on the model; see `keys.OpenSection`."""

  def listing(self, name: str) -> Iterator[Key]:
    """`model.name`, and the fields of all registered models."""
    chosen: Any = Literal[models.names()]
    yield Key(f"{name}.name", chosen, REQUIRED, "Model to train.", None, True)
    owners: dict[str, list[str]] = {}
    fields: dict[str, tuple[Any, list[Any]]] = {}
    for model in models.names():
      for field, found in _fields(models.create(model)).items():
        owners.setdefault(field, []).append(model)
        fields.setdefault(field, (found[0], []))[1].append(found[1])
    for field, (kind, defaults) in fields.items():
      every = len(owners[field]) == len(models.names())
      yield Key(
        name=f"{name}.{field}",
        kind=kind,
        default=defaults[0] if len(set(defaults)) == 1 else None,
        text=_TEXTS.get(field, f"Field {field} of the model."),
        unit=None,
        fixed=True,
        bounds=_BOUNDS.get(field, Bounds()),
        variants=() if every else tuple(owners[field]),
      )

  def build(self, value: Any, known: tuple[str, ...], name: str) -> dict[str, Any]:
    """The model's name and fields, checked by making the model."""
    if not isinstance(value, Mapping) or "name" not in value:
      raise ValueError(f"the config lacks {name}.name{nearest('', models.names())}")
    given = {str(field): each for field, each in value.items()}
    model = convert(str, given.pop("name"), f"{name}.name")
    if model not in models.names():
      near = nearest(model[:80], models.names())
      raise ValueError(f"config key {name}: unknown model {shown(model)}{near}")
    fields = _fields(models.create(model))
    for field in given:
      if remedy := _NOT_KEYS.get(field):
        raise ValueError(f"config key {name}.{field} cannot be set: {remedy} instead")
    checked = {
      field: convert(fields[field][0], each, f"{name}.{field}")
      if field in fields
      else each
      for field, each in given.items()
    }
    for field, each in checked.items():
      _BOUNDS.get(field, Bounds()).check(each, f"{name}.{field}")
    try:
      models.create(model, **without_fit(checked))
    except (ValueError, TypeError) as error:
      raise ValueError(f"config key {name}: {error}") from error
    return {"name": model, **checked}


def resolved_model(model: Mapping[str, Any]) -> dict[str, Any]:
  """The section with every field that it leaves to the model's own default."""
  created = models.create(**without_fit(model))
  fields = {field: value for field, (_, value) in _fields(created).items()}
  if model.get("remat") == FIT:
    fields["remat"] = FIT
  if "num_classes" not in model:  # The class list decides.
    fields.pop("num_classes", None)
  return {"name": model["name"], **fields}


def without_fit(model: Mapping[str, Any]) -> dict[str, Any]:
  """Fields with which a model can be made before its memory is known."""
  return {**model, "remat": "none"} if model.get("remat") == FIT else dict(model)


def _fields(model: nn.Module) -> dict[str, tuple[Any, Any]]:
  """Type and value of the fields that are config keys."""
  found = {}
  for field in dataclasses.fields(model):
    value = getattr(model, field.name)
    if field.name == "dtype" and not isinstance(value, str):
      value = np.dtype(value).name
    vague = field.type is Any or isinstance(field.type, str)
    if field.name not in _NOT_KEYS:
      plain = dict(value) if isinstance(value, Mapping) else value  # ready for JSON
      found[field.name] = (type(value) if vague else field.type, plain)
  return found


_TEXTS = {
  "num_classes": "Number of outputs; none: the length of the class list.",
  "table": "Table of blocks: wide (the net for 21,841 classes) or plain (for 1,000).",
  "width": "Multiply the number of channels of every layer by this.",
  "dtype": "Type of the arithmetic: float32 or bfloat16; parameters stay float32.",
  "remat": "What backprop computes again to save memory: none, norm or block; fit, the "
  "least with which the step fits the device; or a policy for each segment, as in "
  "conv1=block,3a=norm, none for those left out.",
  "pooling": "Geometry of pools of stride 2: ceil, as the original, or floor.",
  "average_pool": "Whether padding counts in averages: ignored, as in the original, or "
  "counted.",
  "bn_epsilon": "Added to the variance in BatchNorm.",
  "bn_momentum": "Share of BatchNorm's moving statistics that a step keeps.",
  "init_scale": "Kernels start uniform between minus and plus this.",
  "head_bias": "Bias of every class at the start; about -10 with loss sigmoid, so that "
  "its loss starts small.",
}

_BOUNDS = {
  "num_classes": Bounds(1, 10**7),
  "width": Bounds(0, 64, above=True),
  "bn_epsilon": Bounds(0, 1, above=True),
  "bn_momentum": SHARE,
  "init_scale": Bounds(0, 1e6),
  "head_bias": Bounds(-1000, 1000),
}

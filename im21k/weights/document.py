"""`model.json`: what a release folder says about its arrays and class list.

In: the file, from anywhere. Out: values whose types and limits have been checked.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from im21k import documents, models
from im21k.fields import Fields
from im21k.models.registry import nearest
from im21k.weights.arrays import REMEDY
from im21k.weights.input import LARGEST_SIDE, Input

FORMAT_VERSION = 1
_LARGEST = 2**24  # Bytes; those of training runs have some thousands.
_LONGEST_NAME = 200


@dataclasses.dataclass(frozen=True)
class Document:
  """The content of `model.json`; attributes as of `Weights`.

  Attributes:
    model: the module that `model_name` and `model_fields` describe.
    listed, listed_hash, listed_details: name and hashes of the class list.
    checksum: SHA-256 of the file of arrays.
  """

  model_name: str
  model_fields: dict[str, Any]
  model: nn.Module
  input: Input
  listed: str
  listed_hash: str
  listed_details: str
  checksum: str
  scores: dict[str, Any]
  config: dict[str, Any]


def read(path: Path) -> Document:
  """Reads `model.json`.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged or of another version; names the field.
  """
  fields = Fields(documents.read(path, REMEDY, _LARGEST), path, REMEDY)
  fields.version(FORMAT_VERSION)
  described, classes = fields.object("model"), fields.object("class_list")
  name = described.text("name")
  if name not in models.names():
    reason = f"is {name[:80]!r}{nearest(name[:80], models.names())}"
    raise described.error("name", reason)
  own = described.object("fields")
  document = Document(
    model_name=name,
    model_fields=own.document,
    model=_model(name, own),
    input=_input(fields.object("input")),
    listed=_name(classes),
    listed_hash=_digits(classes, "hash", 16),
    listed_details=_digits(classes, "details", 16) if "details" in classes else "",
    checksum=_digits(fields, "arrays_sha256", 64),
    scores=fields.object("scores").document,
    config=fields.object("config").document,
  )
  fields.any("commit", default=None)
  for part in (fields, described, classes):
    part.done()
  return document


def variables_of(
  document: Document, classes: int, path: Path
) -> dict[str, tuple[int, ...]]:
  """The shapes of all variables of the model, by their path.

  Args:
    document: what describes the model.
    classes: how many there are in `classes.txt`.
    path: of `model.json`, for messages.

  Raises:
    ValueError: the model cannot be made, or has not one output for each class.
  """
  size = document.input.size
  images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)

  def start(x: Any) -> Any:
    return document.model.init_with_output(jax.random.key(0), x, train=False)

  try:
    output, shapes = jax.eval_shape(start, images)
  except Exception as error:  # Of any registered model, in layers of other people.
    raise ValueError(
      f"{path}: model.fields and input.size make no model "
      f"({type(error).__name__}: {_line(error)}): {REMEDY}"
    ) from error
  logits = output[0] if isinstance(output, tuple) else output
  if logits.shape != (1, classes):
    raise ValueError(
      f"{path}: model.fields describe {logits.shape[-1]:,} outputs, but classes.txt "
      f"holds {classes:,} classes: {REMEDY}"
    )
  flat = traverse_util.flatten_dict(shapes, sep="/")
  return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def finite(tree: Any) -> Any:
  """A tree in which None stands for numbers that JSON lacks: NaN and infinity."""
  if isinstance(tree, dict):
    return {key: finite(value) for key, value in tree.items()}
  if isinstance(tree, list | tuple):
    return [finite(value) for value in tree]
  return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _model(name: str, fields: Fields) -> nn.Module:
  """The model; each of its fields has the type of the default."""
  defaults = models.create(name)
  known = [
    field.name
    for field in dataclasses.fields(defaults)
    # JSON has no functions; they are for training.
    if field.name not in ("parent", "name") and "Callable" not in str(field.type)
  ]
  for field, value in fields.document.items():
    if field not in known:
      reason = f"is unknown: model {name} has no such field{nearest(field, (*known,))}"
      raise fields.error(field, reason)
    default = getattr(defaults, field)
    wanted = (int, float) if isinstance(default, float) else (type(default),)
    if default is not None and type(value) not in wanted:
      raise fields.error(
        field, f"is {value!r:.60}, but must be like its default, {default!r:.60}"
      )
  try:
    return models.create(name, **fields.document)
  except (ValueError, TypeError, OverflowError) as error:
    raise fields.error("", f"describe no model: {_line(error)}") from error


def _input(fields: Fields) -> Input:
  def channels(name: str) -> dict[str, float | tuple[float, ...]]:
    if name not in fields:
      return {}
    if isinstance(fields.any(name), list):
      return {name: fields.numbers(name, 3)}
    return {name: fields.number(name)}

  try:
    made = Input(
      size=fields.integer("size", 1, LARGEST_SIDE),
      short_side=fields.integer("short_side", 1, LARGEST_SIDE),
      **channels("mean"),
      **channels("std"),
    )
  except ValueError as error:
    if str(error).startswith(fields.where):
      raise
    raise fields.error("", str(error)) from error
  fields.done()
  return made


def _line(error: Exception) -> str:
  """What a model says of its fields: short, on one line."""
  return " ".join(str(error).split())[:_LONGEST_NAME]


def _name(fields: Fields) -> str:
  name = fields.text("name")
  if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
    raise fields.error("name", f"is no name of at most {_LONGEST_NAME} letters")
  return name


def _digits(fields: Fields, name: str, count: int) -> str:
  value = fields.text(name)
  if not re.fullmatch(f"[0-9a-f]{{{count}}}", value):
    raise fields.error(name, f"is not {count} hexadecimal digits")
  return value

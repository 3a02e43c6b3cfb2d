"""The section `init` of a config: released weights -> the state before a first step."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from flax import traverse_util

from im21k import models, synsets, weights, words
from im21k.training.keys import REQUIRED, key, section
from im21k.training.model_keys import resolved_model, without_fit
from im21k.training.outputs import say
from im21k.training.values import Bounds
from im21k.weights import document, heads
from im21k.weights.arrays import listed

_NAMED = 5  # Arrays in an error message, or classes in a note.
# Fields that only decide how a model is trained, or follow from the classes.
_FREE = ("num_classes", "dtype", "remat", "bn_momentum", "init_scale", "head_bias")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
  """Keys of a trunk that is trained on."""

  name: ClassVar[str] = "train"
  lr: float = key(
    1.0,
    "Multiple of the learning rate in the trunk.",
    bounds=Bounds(0, 1e6, above=True),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frozen:
  """A trunk that stays as it is, and takes no gradients, momentum or statistics."""

  name: ClassVar[str] = "frozen"
  lr: ClassVar[float] = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Init:
  """Keys of a training that starts from weights."""

  weights: str = key(REQUIRED, "Release folder whose parameters training starts from.")
  head: heads.How = key(
    "by_synset",
    "Where the head starts: by_synset, each class from the column of its synset, or "
    "of those nearest to it; fresh, from random numbers; keep, from the same classes.",
  )
  trunk: Trained | Frozen = section(
    Trained(), "Whether the trunk is trained, or stays as it is (frozen).",
    variants={one.name: one for one in (Trained, Frozen)},
  )  # fmt: skip


def read(
  init: Init,
  model: Mapping[str, Any],
  prepared: weights.Input,
  classes: synsets.ClassList,
  seed: int,
) -> dict[str, Any]:
  """The variables that a run starts from, as numpy arrays.

  Args:
    init: the section.
    model: the section `model`, of which the trunk must be that of the weights.
    prepared: how photos are prepared, with the mean and std of the weights.
    classes: what the logits mean.
    seed: of a fresh head.

  Raises:
    FileNotFoundError: there are no weights.
    ValueError: they are damaged, or do not fit: names arrays, keys or classes.
  """
  folder = Path(init.weights)
  released = weights.load(folder)
  if model.get("num_classes", len(classes)) != len(classes):
    raise ValueError(
      f"model.num_classes is {model['num_classes']:,}, but init makes a head for the "
      f"{len(classes):,} classes of {classes.name}: leave it out"
    )
  differ = _keys(released, model, prepared)
  arrays_ = _arrays(released, {**model, "num_classes": len(classes)}, prepared.size)
  if arrays_ or differ:
    remedy = (
      f"set {', '.join(differ)}, as these weights need"
      if differ
      else ("take weights of this model")
    )
    what = (
      listed(arrays_) if arrays_ else "the same arrays would compute something else"
    )
    raise ValueError(f"init.weights {folder} does not fit: {what}: {remedy}")
  try:
    made = heads.with_classes(released, classes, init.head, seed)
  except ValueError as error:
    raise ValueError(f"init.head is {init.head}: {error}") from error
  if init.head == "by_synset":
    _say_sources(classes, released.classes)
  return made.variables


def fingerprint(init: Init) -> str | None:
  """Which weights these are, wherever they lie; None: there are none."""
  path = weights.find(Path(init.weights)) / weights.DOCUMENT
  return document.read(path).checksum[:16] if path.is_file() else None


def _keys(
  released: weights.Weights, model: Mapping[str, Any], prepared: weights.Input
) -> list[str]:
  """Settings without which the trunk would compute something else than theirs."""
  old = resolved_model({"name": released.model_name, **released.model_fields})
  new = resolved_model(model)
  pairs = {
    f"model.{name}": (old.get(name), new.get(name))
    for name in {**old, **new}
    if name not in _FREE
  }
  pairs |= {
    name: (getattr(released.input, name), getattr(prepared, name))
    for name in ("mean", "std")
  }
  return [
    f"{name}={theirs}" for name, (theirs, ours) in pairs.items() if theirs != ours
  ]


def _arrays(
  released: weights.Weights, model: Mapping[str, Any], side: int
) -> list[str]:
  """The arrays of the trunk that differ in shape, each with both."""
  images = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
  made = models.create(**without_fit(model))
  shapes = jax.eval_shape(
    lambda x: made.init(jax.random.key(0), x, train=False), images
  )
  here, there = _trunk(shapes), _trunk(released.variables)
  return [
    f"{name} {_shape(there.get(name))} there, {_shape(here.get(name))} here"
    for name in sorted(
      {**here, **there}, key=lambda name: name.split("/")[0] != "params"
    )
    if _shape(here.get(name)) != _shape(there.get(name))
  ]


def _trunk(variables: Any) -> dict[str, Any]:
  flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep="/")
  return {k: v for k, v in flat.items() if not k.startswith(f"params/{heads.HEAD}/")}


def _shape(array: Any) -> str:
  return "is missing" if array is None else f"is {tuple(np.shape(array))}"


def _say_sources(classes: synsets.ClassList, old: synsets.ClassList) -> None:
  """Says which classes start from columns of the old head, and which do not."""
  found = heads.sources(classes, old)
  fresh = [
    one for one, labels in zip(classes.synsets, found, strict=True) if not labels
  ]
  same = sum(one in set(old.synsets) for one in classes.synsets)
  near = len(classes) - same - len(fresh)
  parts = [f"{same:,} from its own column", f"{near:,} from those nearest in WordNet"]
  if fresh:
    more = ", …" if len(fresh) > _NAMED else ""
    parts.append(f"{len(fresh):,} afresh ({', '.join(fresh[:_NAMED])}{more})")
  say(
    f"init.head by_synset: of {words.counted(len(classes), 'class')} "
    f"start {', '.join(parts)}"
  )

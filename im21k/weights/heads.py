"""Released weights and other classes -> the same trunk with a head for these classes.

The head's columns are drawn anew, or taken from the old ones: those of the same synset,
or of the synsets nearest to it in WordNet.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import jax
import numpy as np
import numpy.typing as npt
from flax import linen as nn

from im21k import models, synsets
from im21k.synsets import ids, wordnet
from im21k.weights.release import Weights

HEAD = "head"  # Name of the last layer's parameters.
How = Literal["by_synset", "fresh", "keep"]


def with_classes(
  released: Weights, classes: synsets.ClassList, how: How = "fresh", seed: int = 0
) -> Weights:
  """The same trunk with a head for other classes; no memory is shared by the heads.

  Args:
    released: the weights; their scores, which belong to the old head, are dropped.
    classes: what the new logits mean.
    how: `fresh` draws all parameters of the head as at the start of a training;
      `by_synset` takes the columns that `sources` names, the mean of several, and
      draws where there are none; `keep` takes the head as it is.
    seed: of what is drawn.

  Raises:
    ValueError: keep, and the weights have other classes; by_synset, and no class has
      anything to start from; or the model has no head.
  """
  if HEAD not in released.variables["params"]:
    raise ValueError(
      f"{released.model_name} has no parameters called {HEAD!r}, so that its head "
      "cannot be replaced or trained alone"
    )
  if how == "keep":
    classes.check_same(released.classes.name, released.classes.hash, "the head")
    return dataclasses.replace(released, classes=classes, scores={})
  fields = {**released.model_fields, "num_classes": len(classes)}
  head = drawn(models.create(released.model_name, **fields), released.input.size, seed)
  if how == "by_synset":
    found = sources(classes, released.classes)
    if not any(found):
      raise ValueError(
        f"none of the {len(classes):,} classes of {classes.name!r} is among those of "
        f"the weights, or hangs under a synset near them: take a fresh head, or say "
        "what they hang under"
      )
    old = released.variables["params"][HEAD]
    head = {name: _columns(old[name], found, array) for name, array in head.items()}
  params = {**released.variables["params"], HEAD: head}
  return dataclasses.replace(
    released,
    model_fields=fields,
    variables={**released.variables, "params": params},
    classes=classes,
    scores={},
  )


def drawn(model: nn.Module, side: int, seed: int) -> dict[str, Any]:
  """The head's parameters as `model.init` draws them, numpy arrays by name.

  Nothing else is compiled: for the whole net that takes half a minute of a core.
  """
  images = np.zeros((1, side, side, 3), np.float32)

  def init() -> Any:
    return model.init(jax.random.key(seed), images, train=False)["params"][HEAD]

  head: dict[str, Any] = jax.device_get(jax.jit(init)())
  return head


def sources(
  classes: synsets.ClassList, old: synsets.ClassList
) -> tuple[tuple[int, ...], ...]:
  """For each class, the labels of the old classes whose columns it starts from.

  That of the same id. Else, from the synset that it hangs under (an own class) or that
  it is, upwards to the first synset which is an old class, or above some: that one, or
  all below it. None where only the root is above both.
  """
  labels = {synset: label for label, synset in enumerate(old.synsets)}
  under = classes.under or ("",) * len(classes)
  places = _Places(labels)
  return tuple(
    (labels[one],) if one in labels else places.nearest(one, above)
    for one, above in zip(classes.synsets, under, strict=True)
  )


class _Places:
  """Where old classes are in WordNet."""

  def __init__(self, labels: dict[str, int]):
    self._labels = labels
    self._graph = wordnet.load() if any(map(ids.is_synset, labels)) else None

  def nearest(self, one: str, above: str) -> tuple[int, ...]:
    """Labels of the old classes at or below the first synset that has some."""
    if not self._graph:
      return ()
    start = above or one
    level = [start] if self._graph.knows(start) else []
    while level and level != [self._graph.root]:
      found = {label for synset in level for label in self._at(synset)}
      if found:
        return tuple(sorted(found))
      level = sorted({up for synset in level for up in self._graph.hypernyms(synset)})
    return ()

  def _at(self, synset: str) -> Iterable[int]:
    if synset in self._labels:
      return (self._labels[synset],)
    return self._below.get(synset, ())

  @functools.cached_property
  def _below(self) -> dict[str, set[int]]:
    """Labels of the old classes below each synset but the root."""
    assert self._graph
    below: dict[str, set[int]] = {}
    for one, label in self._labels.items():
      waiting = [one] if self._graph.knows(one) else []
      seen: set[str] = set()
      while waiting:
        ups = set(self._graph.hypernyms(waiting.pop())) - seen - {self._graph.root}
        seen |= ups
        waiting += ups
      for synset in seen:
        below.setdefault(synset, set()).add(label)
    return below


def _columns(
  old: npt.NDArray[Any], found: Sequence[Sequence[int]], fresh: npt.NDArray[Any]
) -> npt.NDArray[Any]:
  """`[…, classes]`: the mean of the old columns found for each, else the fresh one."""
  new = np.array(fresh)
  for label, columns in enumerate(found):
    if columns:
      new[..., label] = old[..., list(columns)].mean(-1)
  return new

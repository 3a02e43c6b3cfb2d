"""The losses by name, each with its keys; `make` gives one over a hierarchy.

All take logits float32 `[b, classes]` and labels int `[b]`, and give the loss of each
example, `[b]`: see `flat_losses` and `hierarchical_losses`.
"""

import dataclasses
from typing import Any, ClassVar

from im21k.models.registry import nearest
from im21k.synsets.hierarchy import Hierarchy
from im21k.training.flat_losses import Loss, cross_entropy, evenly_smoothed, sigmoid
from im21k.training.hierarchical_losses import semantic_softmax, smoothed
from im21k.training.keys import key
from im21k.training.values import SHARE, Bounds


def make(hierarchy: Hierarchy, name: str, **fields: Any) -> Loss:
  """The loss called `name` over the classes of a hierarchy; defaults as in `LOSSES`.

  Raises:
    ValueError: there is no such loss, or a field is unknown or out of its range.
  """
  if name not in LOSSES:
    raise ValueError(f"no loss is called {name!r}{nearest(name, tuple(LOSSES))}")
  known = tuple(field.name for field in dataclasses.fields(LOSSES[name]))
  for field in fields:
    if field not in known:
      raise ValueError(f"loss {name} has no key {field!r}{nearest(field, known)}")
  loss: Loss = LOSSES[name](**fields).make(hierarchy)
  return loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy:
  """Keys of the usual cross-entropy over all classes."""

  name: ClassVar[str] = "cross_entropy"
  smoothing: float = key(
    0.0,
    "Share of each label that is spread evenly over all classes (label smoothing).",
    bounds=Bounds(0, 1, below=True),
  )

  def make(self, hierarchy: Hierarchy | None = None) -> Loss:
    """The loss; the hierarchy is not used."""
    return evenly_smoothed(self.smoothing) if self.smoothing else cross_entropy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sigmoid:
  """Keys of `sigmoid`, which has none."""

  name: ClassVar[str] = "sigmoid"

  def make(self, hierarchy: Hierarchy | None = None) -> Loss:
    """The loss; the hierarchy is not used."""
    return sigmoid


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticSoftmax:
  """Keys of `semantic_softmax`."""

  name: ClassVar[str] = "semantic_softmax"
  flat: float = key(
    0.5, "Share of the usual cross-entropy over all classes, from 0 to 1.", bounds=SHARE
  )

  def make(self, hierarchy: Hierarchy) -> Loss:
    """The loss over the classes of this hierarchy."""
    return semantic_softmax(hierarchy, self.flat)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smoothed:
  """Keys of `smoothed`."""

  name: ClassVar[str] = "smoothed"
  beta: float = key(
    30.0,
    "How fast labels fall off with distance in the hierarchy, above 0; a large number "
    "comes close to the usual cross-entropy.",
    bounds=Bounds(0, 1e6, above=True),
  )

  def make(self, hierarchy: Hierarchy) -> Loss:
    """The loss over the classes of this hierarchy."""
    return smoothed(hierarchy, self.beta)


Keys = CrossEntropy | Sigmoid | SemanticSoftmax | Smoothed
LOSSES: dict[str, type[Any]] = {
  loss.name: loss for loss in (CrossEntropy, Sigmoid, SemanticSoftmax, Smoothed)
}

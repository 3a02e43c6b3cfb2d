"""Released weights as one object, for other people's projects.

model = im21k.load("runs/21k/weights")
logits = model.logits(photos)                    # uint8 [b, h, w, 3] RGB
features = model.features(photos)["features"]    # [b, 1024]
"""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from im21k import models, synsets, weights
from im21k.photos import crops


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A model that can be used, and made into another.

  Attributes:
    weights: all that was released: `variables`, `input`, `classes`, `scores`.
  """

  weights: weights.Weights

  @functools.cached_property
  def model(self) -> nn.Module:
    """The Flax module."""
    return self.weights.model

  @property
  def variables(self) -> dict[str, Any]:
    """`{"params", "batch_stats"}`, for `model.apply`."""
    return self.weights.variables

  @property
  def classes(self) -> synsets.ClassList:
    """What the logits mean."""
    return self.weights.classes

  def prepare(self, photos: Iterable[np.ndarray]) -> np.ndarray:
    """Photos of any size, uint8 `[h, w, 3]` RGB -> the batch that `logits` takes."""
    size, short_side = self.weights.input.size, self.weights.input.short_side
    return np.stack([crops.center_crop(p, size, short_side) for p in photos])

  def logits(self, images: Any) -> jax.Array:
    """uint8 `[b, h, w, 3]` RGB -> float32 `[b, classes]`."""
    return self._run(self.variables, _checked(images))[0]

  def features(self, images: Any) -> dict[str, jax.Array]:
    """uint8 `[b, h, w, 3]` RGB -> every stage of the network by name.

    `features` is `[b, 1024 · width]`, pooled; `conv1`, `3a`, … are `[b, h, w, c]`.
    """
    return self._run(self.variables, _checked(images))[1]

  def with_head(self, classes: synsets.ClassList, seed: int = 0) -> "Classifier":
    """The same trunk with a fresh head for other classes; nothing is shared."""
    fields = {**self.weights.model_fields, "num_classes": len(classes)}
    model = models.create(self.weights.model_name, **fields)
    side = self.weights.input.size
    images = np.zeros((1, side, side, 3), np.float32)
    fresh = jax.jit(lambda x: model.init(jax.random.key(seed), x, train=False))(images)
    head = jax.device_get(fresh["params"]["head"])
    params = {**self.variables["params"], "head": head}
    return Classifier(
      dataclasses.replace(
        self.weights,
        model_fields=fields,
        variables={**self.variables, "params": params},
        classes=classes,
        scores={},
      )
    )

  def with_variables(self, variables: Any) -> "Classifier":
    """The same with other parameters and statistics, after training them say."""
    kept = dataclasses.replace(
      self.weights, variables=jax.device_get(variables), scores={}
    )
    return Classifier(kept)

  def trunk(self) -> Any:
    """Tree like the parameters, True for all but the head: what `freeze` freezes.

    For optax: `optax.chain(optimizer, optax.masked(optax.set_to_zero(), trunk))`.
    """
    return {
      name: jax.tree.map(lambda _, frozen=name != "head": frozen, part)
      for name, part in self.variables["params"].items()
    }

  def save(self, folder: Path | str) -> None:
    """Writes a release folder that `im21k.load` and all verbs take."""
    self.weights.save(Path(folder))

  @functools.cached_property
  def _run(self) -> Any:
    prepared = self.weights.input

    @jax.jit
    def run(variables: Any, images: jax.Array) -> Any:
      inputs = weights.normalize(images, prepared.mean, prepared.std)
      return self.model.apply(variables, inputs, train=False)

    return run


def load(folder: Path | str) -> Classifier:
  """The weights in a release folder; errors as of `weights.load`."""
  return Classifier(weights.load(Path(folder)))


def _checked(images: Any) -> Any:
  shape, dtype = np.shape(images), getattr(images, "dtype", None)
  if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8:
    raise ValueError(
      f"images must be uint8 [b, h, w, 3] in RGB, but are {dtype} {list(shape)}; "
      "`prepare` makes a batch of photos of any size"
    )
  return images

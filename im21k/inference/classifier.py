"""Released weights as one object, for other people's projects.

model = im21k.load("runs/21k/weights")
images = model.prepare(["cat.jpg", picture, array])  # uint8 [3, size, size, 3]
logits = model.logits(images)                        # float32 [3, classes]
features = model.features(images)["features"]        # float32 [3, 1024]
"""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import linen as nn
from jaxtyping import Float32, UInt8

from im21k import models, synsets, weights
from im21k.weights import Photo

if TYPE_CHECKING:
  from flax import nnx


@dataclasses.dataclass(frozen=True, repr=False)
class Classifier:
  """A model that is ready to use, and the start of others.

  Attributes:
    weights: what the folder holds: `variables`, `input`, `classes`, `scores`.
  """

  weights: weights.Weights

  def __repr__(self) -> str:
    return f"Classifier({self.weights!r})"

  def _repr_html_(self) -> str:
    return self.weights._repr_html_()

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

  def prepare(self, photos: Iterable[Photo]) -> UInt8[np.ndarray, "b h w 3"]:
    """Photos of any size -> the batch that `logits` takes: see `weights.Input.prepare`.

    Photos are paths of image files, PIL pictures or uint8 arrays `[h, w, 3]` in RGB.
    """
    return self.weights.input.prepare(photos)

  def logits(self, images: npt.ArrayLike) -> Float32[jax.Array, "b classes"]:
    """uint8 `[b, h, w, 3]` RGB -> float32 `[b, classes]`.

    Raises:
      ValueError: the images have another shape or type.
    """
    logits: jax.Array = self._run(_checked(images))[0]
    return logits

  def features(self, images: npt.ArrayLike) -> dict[str, jax.Array]:
    """uint8 `[b, h, w, 3]` RGB -> every stage of the network by name.

    `features` is `[b, 1024 · width]`, pooled; `conv1`, `3a`, … are `[b, h, w, c]`.

    Raises:
      ValueError: the images have another shape or type.
    """
    stages: dict[str, jax.Array] = self._run(_checked(images))[1]
    return stages

  def with_head(self, classes: synsets.ClassList, seed: int = 0) -> "Classifier":
    """The same trunk with a new head for other classes; nothing is shared.

    Args:
      classes: what the new logits mean.
      seed: of the new head's random parameters.
    """
    fields = {**self.weights.model_fields, "num_classes": len(classes)}
    model = models.create(self.weights.model_name, **fields)
    side = self.weights.input.size
    images = np.zeros((1, side, side, 3), np.float32)
    new = jax.jit(lambda x: model.init(jax.random.key(seed), x, train=False))(images)
    head = jax.device_get(new["params"]["head"])
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
    """The same model with other parameters and statistics, for example after training.

    Scores are dropped: they belong to the old parameters.
    """
    kept = dataclasses.replace(
      self.weights, variables=jax.device_get(variables), scores={}
    )
    return Classifier(kept)

  def to_nnx(self) -> "nnx.Module":
    """The model as a module of Flax NNX, with these weights; nothing is compiled.

    `module(images, train=False)` takes normalised images, float32 `[b, h, w, 3]`, and
    returns `(logits, stages)`. Parameters are `nnx.Param`s, so that `nnx.Optimizer` and
    `nnx.value_and_grad` take it; `module(images, train=True, mutable=["batch_stats"])`
    moves the statistics, which are `nnx.BatchStat`s.
    """
    from flax import nnx  # With optax, which answers do not need.

    module = nnx.bridge.ToNNX(self.model)
    arrays = jax.tree.map(jnp.asarray, self.variables)
    attributes = nnx.bridge.variables.linen_vars_to_nnx_attrs(arrays)
    for name, value in attributes.items():
      setattr(module, name, nnx.data(value))
    return module

  def trunk(self) -> Any:
    """Tree like the parameters: True everywhere but in the head.

    To train only the head:
    `optax.chain(optimizer, optax.masked(optax.set_to_zero(), model.trunk()))`.
    """
    return {
      name: jax.tree.map(lambda _, frozen=name != "head": frozen, part)
      for name, part in self.variables["params"].items()
    }

  def save(self, folder: Path | str) -> None:
    """Writes a release folder, for `im21k.load` and all commands."""
    self.weights.save(Path(folder))

  @functools.cached_property
  def _run(self) -> Any:
    """Images -> logits and stages; parameters are copied to the device once."""
    variables = jax.device_put(self.variables)

    @jax.jit
    def run(variables: Any, images: jax.Array) -> Any:
      inputs = self.weights.input.normalize(images)
      return self.model.apply(variables, inputs, train=False)

    return functools.partial(run, variables)


def load(folder: Path | str) -> Classifier:
  """Loads the weights in a release folder; errors as of `weights.load`."""
  return Classifier(weights.load(Path(folder)))


def _checked(images: Any) -> Any:
  shape, dtype = np.shape(images), getattr(images, "dtype", None)
  if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8:
    raise ValueError(
      f"images must be uint8 [b, h, w, 3] in RGB, but are {dtype} {list(shape)}; "
      "`prepare` makes a batch of photos of any size"
    )
  return images

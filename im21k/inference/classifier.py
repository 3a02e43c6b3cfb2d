"""Released weights as one object, for other people's projects.

model = im21k.load("runs/21k/weights")
images = model.prepare(["cat.jpg", picture, array])  # uint8 [3, size, size, 3]
logits = model.logits(images)                        # float32 [3, classes]
features = model.features(images, stage="features")  # float32 [3, 1024]
for key, vector, error in model.stream(paths): …     # any number, constant memory
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import linen as nn
from jaxtyping import Float32, UInt8

from im21k import parallel, synsets, weights
from im21k.features import stages, stream
from im21k.weights import Photo, heads

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

  def logits_on(
    self, on: Sequence[jax.Device]
  ) -> Callable[[npt.ArrayLike], Float32[jax.Array, "b classes"]]:
    """`logits` of batches that these devices share, each with its own parameters."""
    variables = parallel.place(self.variables, on)

    @jax.jit
    def run(variables: Any, images: jax.Array) -> Any:
      inputs = self.weights.input.normalize(images)
      return self.model.apply(variables, inputs, train=False)[0]

    def logits(images: npt.ArrayLike) -> Float32[jax.Array, "b classes"]:
      divided = jax.device_put(_checked(images), parallel.divided(on))
      result: jax.Array = run(variables, divided)
      return result

    return logits

  @overload
  def features(self, photos: Any, stage: None = None) -> dict[str, jax.Array]: ...

  @overload
  def features(self, photos: Any, stage: str) -> Float32[jax.Array, "b ..."]: ...

  def features(self, photos: Any, stage: str | None = None) -> Any:
    """Photos -> every stage of the network by name, or one of them.

    `features` is `[b, 1024 · width]`, pooled; `conv1`, `3a`, … are `[b, h, w, c]`.

    Args:
      photos: uint8 `[b, h, w, 3]` RGB as from `prepare`; or what `prepare` takes, such
        as paths.
      stage: the only one to compute, as float32; also `logits`. By default all stages
        are computed.

    Returns:
      A dict of all stages, or the array of one.

    Raises:
      ValueError: the images have another shape or type, a file is no image, or the
        model has no such stage.
      FileNotFoundError: a photo is missing.
    """
    if stage is not None:
      stages.shape_of(self.weights, stage)  # Before photos are decoded.
    images = _checked(photos) if hasattr(photos, "dtype") else self.prepare(photos)
    if stage is None:
      return self._run(images)[1]
    if stage not in self._stages:
      self._stages[stage] = jax.jit(stages.forward(self.weights, stage))
    return self._stages[stage](self._placed, images)

  def stream(
    self,
    paths: Iterable[str | os.PathLike[str]],
    stage: str = stages.FEATURES,
    *,
    batch_size: int = 64,
  ) -> Iterator[stream.Vector]:
    """Computes a stage for any number of image files, in order and constant memory.

    Args:
      paths: of image files; any iterable, which is read as far as it is needed.
      stage: as of `features`.
      batch_size: photos at a time. It changes what memory is used, and last digits.

    Yields:
      `(key, values, error)` for each path: the path as text, float32 values and None;
      or None and the reason where the file cannot be read or decoded.

    Raises:
      ValueError: the model has no such stage, or batch_size is below 1.
      TypeError: paths is one path.
    """
    return stream.of_files(self.weights, paths, stage, batch_size=batch_size)

  def with_head(
    self, classes: synsets.ClassList, seed: int = 0, start: heads.How = "fresh"
  ) -> "Classifier":
    """The same trunk with a new head for other classes.

    Args:
      classes: what the new logits mean.
      seed: of the new head's random parameters.
      start: `fresh`, all of them random; `by_synset`, from the old head's columns of
        the same synset, or of those nearest to it; see `heads.with_classes`.

    Raises:
      ValueError: by_synset, and no class has anything to start from; or the model has
        no head.
    """
    return Classifier(heads.with_classes(self.weights, classes, start, seed))

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
    """Images -> logits and stages."""

    @jax.jit
    def run(variables: Any, images: jax.Array) -> Any:
      inputs = self.weights.input.normalize(images)
      return self.model.apply(variables, inputs, train=False)

    return functools.partial(run, self._placed)

  @functools.cached_property
  def _placed(self) -> Any:
    """The variables on the device, copied once."""
    return jax.device_put(self.variables)

  @functools.cached_property
  def _stages(self) -> dict[str, Any]:
    """Compiled functions of one stage each, as they were asked for."""
    return {}


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

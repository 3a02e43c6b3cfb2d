"""Variables and photos -> BatchNorm statistics of all these photos together.

The command `recalibrate` asks for those of weights, and a run for those of what it
exports at its end.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from im21k import parallel, weights
from im21k.evaluation import results
from im21k.loading import scoring


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What came out.

  Attributes:
    stats: BatchNorm's mean and variance, float32; None: there was no whole batch.
    used: photos that they are of.
    read: photos that were read.
    bad: those of these that could not be used.
  """

  stats: Any
  used: int
  read: int
  bad: list[results.Bad]


def estimate(
  model: Any,
  prepared: weights.Input,
  variables: Any,
  loader: scoring.ScoreLoader,
  batches: int,
  on: Sequence[jax.Device],
) -> Estimate:
  """Mean and variance of each channel over the photos of the first batches.

  Pooled from the batches exactly, with no moving average (Wu & Johnson 2021, section
  3). Each device normalises by its own batch, or all by theirs together, as the model
  does in training.

  Args:
    model: has the field `bn_momentum`.
    prepared: how photos become its input.
    variables: of the model.
    loader: of the photos.
    batches: how many.
    on: devices that share each batch.
  """
  measure = parallel.eval_step(_measure(model, prepared), on)
  placed = parallel.place(variables, on)
  bad: list[results.Bad] = []
  read: Counter[str] = Counter()
  sums: Any = None
  count = used = 0
  with tqdm(
    total=batches, desc="recalibrate", unit=" batches", disable=None
  ) as progress:
    for image in itertools.islice(_whole_batches(loader, bad, read), batches):
      means = jax.device_get(measure(placed, {"image": image}))
      means = jax.tree.map(np.float64, means)
      sums = means if sums is None else jax.tree.map(np.add, sums, means)
      count, used = count + 1, used + image.shape[0] * image.shape[1]
      progress.update()
  stats = _pooled(sums, count) if count else None
  return Estimate(stats, used, read["photos"], bad)


def _whole_batches(
  loader: scoring.ScoreLoader,
  bad: list[results.Bad],
  read: Counter[str],
) -> Iterator[UInt8[np.ndarray, "d b h w 3"]]:
  """Batches of good photos; what is left over at the end is dropped."""
  waiting: list[np.ndarray] = []
  for batch, examples in loader:
    shape = batch["image"].shape
    images = batch["image"].reshape(-1, *shape[2:])
    good = (image for image, e in zip(images, examples, strict=False) if not e.error)
    waiting += good
    bad += [results.bad_of(e) for e in examples if e.error]
    read["photos"] += len(examples)
    if len(waiting) >= len(images):
      yield np.stack(waiting[: len(images)]).reshape(shape)
      del waiting[: len(images)]


def _measure(
  model: Any, prepared: weights.Input
) -> Callable[[Any, dict[str, Any]], Any]:
  """Means of each batch, and of its squares, averaged over devices."""
  model = model.clone(bn_momentum=0.0)  # statistics are the last batch's

  def measure(variables: Any, batch: dict[str, Any]) -> Any:
    image = weights.normalize(batch["image"], prepared.mean, prepared.std)
    _, updates = model.apply(variables, image, train=True, mutable=["batch_stats"])
    return parallel.mean(_by_layer(updates["batch_stats"], _square))

  return measure


def _by_layer(stats: Any, function: Callable[[dict[str, Any]], Any]) -> Any:
  """Applies a function to every `{"mean", "var"}` of a tree."""
  is_layer = lambda node: isinstance(node, dict) and "mean" in node  # noqa: E731
  return jax.tree.map(function, stats, is_leaf=is_layer)


def _square(layer: dict[str, Any]) -> dict[str, Any]:
  return {"mean": layer["mean"], "var": layer["var"] + layer["mean"] ** 2}


def _pooled(sums: Any, count: int) -> Any:
  def pool(layer: dict[str, Any]) -> dict[str, Any]:
    mean, square = layer["mean"] / count, layer["var"] / count
    return {"mean": np.float32(mean), "var": np.float32(square - mean**2)}

  return _by_layer(sums, pool)

"""Weights and the name of a stage -> a function that computes this stage alone.

XLA leaves out what no output depends on: `conv1` costs a convolution, `features` all
but the head. The stages are the model's own (`InceptionBN.__call__` names them), and
`logits`.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from im21k import parallel, weights
from im21k.models.registry import nearest

FEATURES, LOGITS = "features", "logits"
DType = Literal["float32", "float16"]


def shapes(released: weights.Weights) -> dict[str, tuple[int, ...]]:
  """Shape of each stage for one photo, by name, without computing any."""
  side = released.input.size
  image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
  logits, stages = jax.eval_shape(
    lambda variables, x: released.model.apply(variables, x, train=False),
    released.variables,
    image,
  )
  return {
    name: tuple(stage.shape[1:]) for name, stage in {**stages, LOGITS: logits}.items()
  }


def shape_of(released: weights.Weights, stage: str) -> tuple[int, ...]:
  """Shape of one stage for one photo.

  Raises:
    ValueError: the model has no such stage.
  """
  known = shapes(released)
  if stage not in known:
    raise ValueError(
      f"stage is {stage!r}, which {released.model_name} has not"
      f"{nearest(stage, tuple(known))}"
    )
  return known[stage]


def forward(
  released: weights.Weights, stage: str, dtype: DType = "float32"
) -> Callable[[Any, jax.Array], jax.Array]:
  """A function of variables and uint8 images `[b, h, w, 3]`, whose result is one stage.

  Args:
    released: the weights.
    stage: one of `shapes`.
    dtype: of the result; the arithmetic is the model's.
  """

  def run(variables: Any, images: jax.Array) -> jax.Array:
    inputs = released.input.normalize(images)
    logits, stages = released.model.apply(variables, inputs, train=False)
    result: jax.Array = {**stages, LOGITS: logits}[stage]
    return result.astype(jnp.dtype(dtype))

  return run


def mapped(
  released: weights.Weights, stage: str, dtype: DType
) -> Callable[[Any, dict[str, Any]], jax.Array]:
  """The same of one device's part, for `parallel.eval_step`: all devices' rows."""
  run = forward(released, stage, dtype)
  return lambda variables, batch: parallel.gather(run(variables, batch["image"]))

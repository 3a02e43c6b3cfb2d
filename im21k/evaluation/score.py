"""The scoring step, for the training loop and for offline evaluation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from im21k import parallel, weights
from im21k.weights import normalize

TOP_K = (1, 5, 20)


def eval_step(
  model: nn.Module, mean: Any, std: Any, subsets: dict[str, Any]
) -> Callable[[Any, dict], dict]:
  """Makes the step for `parallel.eval_step`: sums over the examples with mask 1.

  Args:
    model: gives logits.
    mean, std: of the normalisation.
    subsets: by name, bool `[num_classes]`: the classes that may be answered, and of
      which examples count. None stands for all.

  Returns:
    A function of variables and a batch, whose result holds for each subset the sums
    `count`, `loss`, and `top_1`, `top_5`, `top_20` (numbers of correct answers).
  """

  def step(variables: Any, batch: dict) -> dict:
    image = normalize(batch["image"], mean, std)
    logits, _ = model.apply(variables, image, train=False)
    label = batch["label"]

    def sums(allowed: Any) -> dict:
      mask, within = batch["mask"], logits
      if allowed is not None:
        mask = mask * jnp.asarray(allowed)[label]
        within = jnp.where(jnp.asarray(allowed), logits, -jnp.inf)
      losses = optax.softmax_cross_entropy_with_integer_labels(within, label)
      place = rank(within, label)
      right = {f"top_{k}": (mask * (place < k)).sum() for k in TOP_K}
      # A label outside the subset has an infinite loss, and mask 0.
      return {
        "count": mask.sum(),
        "loss": jnp.where(mask > 0, losses, 0).sum(),
        **right,
      }

    return parallel.total({name: sums(allowed) for name, allowed in subsets.items()})

  return step


def rank_step(
  model: nn.Module, mean: Any, std: Any, subsets: dict[str, Any], flip: bool = False
) -> Callable[[Any, dict], dict]:
  """Makes a step for `parallel.eval_step` that tells of every example by itself.

  Args:
    model, mean, std, subsets: as for `eval_step`.
    flip: logits are the mean of those of the image and of its mirror image.

  Returns:
    A function of variables and a batch, whose result holds for each subset `rank` and
    `loss` of the batch's examples, `[devices · b]`, whatever mask and label they have.
  """

  def step(variables: Any, batch: dict) -> dict:
    image, label = normalize(batch["image"], mean, std), batch["label"]
    logits, _ = model.apply(variables, image, train=False)
    if flip:
      mirrored, _ = model.apply(variables, image[:, :, ::-1], train=False)
      logits = (logits + mirrored) / 2
    found = {}
    for name, allowed in subsets.items():
      within = logits if allowed is None else jnp.where(allowed, logits, -jnp.inf)
      losses = optax.softmax_cross_entropy_with_integer_labels(within, label)
      found[name] = {"rank": rank(within, label), "loss": losses}
    return jax.tree.map(parallel.gather, found)

  return step


def rank(logits: jax.Array, label: jax.Array) -> jax.Array:
  """How many classes come before the right one: `[b, n]`, `[b]` -> int `[b]`.

  A class of equal logit comes before, if it is not the right one; so a model that
  answers the same to everything earns nothing. A label with a logit that is not
  finite comes last.
  """
  own = jnp.take_along_axis(logits, label[:, None], axis=-1)
  before = (logits >= own).sum(-1) - 1
  return jnp.where(jnp.isfinite(own[:, 0]), before, logits.shape[-1])


def logits(released: weights.Weights) -> Callable[[Any], jax.Array]:
  """A function uint8 `[b, h, w, 3]` RGB -> float32 `[b, classes]`, on one device."""
  model, prepared = released.model, released.input

  @jax.jit
  def run(variables: Any, images: jax.Array) -> jax.Array:
    inputs = normalize(images, prepared.mean, prepared.std)
    return model.apply(variables, inputs, train=False)[0]

  return lambda images: run(released.variables, images)

"""Losses that treat all classes alike: logits `[b, classes]`, labels `[b]` -> `[b]`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Loss = Callable[[jax.Array, jax.Array], jax.Array]
cross_entropy: Loss = optax.softmax_cross_entropy_with_integer_labels


def sigmoid(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Binary cross-entropy of every class by itself, summed over the classes.

  Beyer et al. 2020, "Are we done with ImageNet?", section 5: no class has to lose for
  another to win. Kolesnikov et al. 2019 start the head's biases far below 0 with it.
  """
  own = jnp.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
  return jax.nn.softplus(logits).sum(-1) - own


def evenly_smoothed(smoothing: float) -> Loss:
  """Cross-entropy with a share of each label spread evenly over all classes.

  Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
  """

  def loss(logits: jax.Array, label: jax.Array) -> jax.Array:
    # Of all classes equally right: the normaliser minus the mean logit.
    everywhere = jax.nn.logsumexp(logits, -1) - logits.mean(-1)
    own = cross_entropy(logits, label)
    return (1 - smoothing) * own + smoothing * everywhere

  return loss

"""The head's classes split over the devices: each has some columns of its kernel.

The head of 21,841 classes is 68 % of all parameters. Replicated, it costs each device
its 89 MB three times (parameters, momentum, gradient) and as much on the wire; split,
a quarter of that, and what is sent are features and a few numbers an example
(Krizhevsky 2014, "One weird trick", section 4, scheme a).

A state is split while it trains only: checkpoints and weights have the usual form.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, Int

from im21k import parallel
from im21k.weights.heads import HEAD


def split(state: Any, devices: int) -> Any:
  """Arrays of the head `[…, classes]` -> `[devices, …, classes / devices]`.

  Where the classes cannot be divided, zeros fill the last device's part. Of several
  hosts, each with so many devices, each gets its own parts.
  """
  everywhere = devices * parallel.hosts()

  def of(x: jax.Array) -> jax.Array:
    part = -(-x.shape[-1] // everywhere)
    around = [(0, 0)] * (x.ndim - 1) + [(0, everywhere * part - x.shape[-1])]
    filled = jnp.pad(x, around).reshape(*x.shape[:-1], everywhere, part)
    own: jax.Array = parallel.own_rows(jnp.moveaxis(filled, -2, 0))
    return own

  return on_head(of, state)


def join(state: Any, num_classes: int, on: Sequence[jax.Device] = ()) -> Any:
  """The inverse of `split`, in the host's memory; `on` are the devices of this one."""

  def of(x: jax.Array) -> npt.NDArray[Any]:
    parts: npt.NDArray[Any] = np.moveaxis(parallel.all_parts(x, on), 0, -2)
    return parts.reshape(*parts.shape[:-2], -1)[..., :num_classes]

  return on_head(of, state)


def axes(state: Any) -> Any:
  """For `parallel.train_step`: 0 for what is split, None for what is not."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: 0 if _in_head(path) else None, state
  )


def check(loss: Any, clip_norm: float | None) -> None:
  """ValueError if a run whose head is split cannot have this loss or clipping."""
  if loss.name not in ("cross_entropy", "sigmoid"):
    raise ValueError(
      f"loss {loss.name!r} needs the logits of all classes on each device, and "
      "split_head divides them: set split_head to False"
    )
  if clip_norm is not None:
    raise ValueError(
      "optimizer.clip_norm needs the norm of all gradients on each device, and "
      "split_head divides them: set split_head to False"
    )


def on_head(function: Any, state: Any) -> Any:
  """Applies a function to the head's arrays in a state, and to no other."""
  return jax.tree_util.tree_map_with_path(
    lambda path, x: function(x) if _in_head(path) else x, state
  )


class Form(NamedTuple):
  """What a loss is besides arrays.

  Attributes:
    num_classes: without the filling.
    dtype: of the product.
    smoothing: share of each label that is spread evenly over all classes.
    sigmoid: whether every class is right or wrong by itself: `flat_losses.sigmoid`.
  """

  num_classes: int
  dtype: Any
  smoothing: float = 0.0
  sigmoid: bool = False


def loss(
  features: Float[Array, "b c"],
  head: dict[str, jax.Array],
  label: Int[Array, " b"],
  form: Form,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Loss over all classes, inside a mapped step.

  Args:
    features: `[b, c]` of this device's examples.
    head: its part: `kernel` `[c, n]`, `bias` `[n]`.
    label: int `[b]`, of all classes.
    form: which loss.

  Returns:
    The mean loss and the share of right first answers over all devices' examples. The
    gradient for `head` is that of this mean, complete; that for `features` is that of
    the mean over this device's examples, so that the trunk's is to be averaged.
  """
  result: tuple[jax.Array, jax.Array] = _loss(
    features, head, label, form._replace(dtype=jnp.dtype(form.dtype))
  )
  return result


def _forward(features: jax.Array, head: Any, label: jax.Array, form: Form) -> Any:
  everyone, label = parallel.gather(features), parallel.gather(label)

  def product(features: jax.Array, head: Any) -> jax.Array:
    features, kernel, bias = (
      x.astype(form.dtype) for x in (features, head["kernel"], head["bias"])
    )
    return (features @ kernel + bias[None]).astype(jnp.float32)

  logits, pull = jax.vjp(product, everyone, head)
  own = parallel.index() * logits.shape[-1] + jnp.arange(logits.shape[-1])[None]
  logits = jnp.where(own < form.num_classes, logits, -jnp.inf)
  largest = parallel.largest(logits.max(-1))
  is_right = own == label[:, None]
  right = parallel.total(jnp.where(is_right, logits, 0).sum(-1))
  # The first of equal answers counts, as in argmax.
  answer = jnp.where(logits == largest[:, None], own, form.num_classes).min(-1)
  answer = -parallel.largest(-answer)
  top_1 = (answer == label).mean(dtype=jnp.float32)
  if form.sigmoid:
    value = parallel.total(jax.nn.softplus(logits).sum(-1)) - right
    errors = jax.nn.sigmoid(logits) - is_right.astype(jnp.float32)
  else:
    value, errors = _softmax(logits, largest, is_right, right, own, form)
  return (value.mean(), top_1), (pull, errors)


def _softmax(
  logits: jax.Array,
  largest: jax.Array,
  is_right: jax.Array,
  right: jax.Array,
  own: jax.Array,
  form: Form,
) -> tuple[jax.Array, jax.Array]:
  """Cross-entropy of each example, and its gradient for this device's logits."""
  exponents = jnp.exp(logits - largest[:, None])
  normalizer = parallel.total(exponents.sum(-1))
  is_wanted = is_right.astype(jnp.float32)
  if form.smoothing:
    is_class = own < form.num_classes
    mean = parallel.total(jnp.where(is_class, logits, 0).sum(-1)) / form.num_classes
    right = (1 - form.smoothing) * right + form.smoothing * mean
    evenly = form.smoothing / form.num_classes * is_class.astype(jnp.float32)
    is_wanted = (1 - form.smoothing) * is_wanted + evenly
  value = largest + jnp.log(normalizer) - right
  return value, exponents / normalizer[:, None] - is_wanted


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _loss(
  features: jax.Array, head: Any, label: jax.Array, form: Form
) -> tuple[jax.Array, jax.Array]:
  result: tuple[jax.Array, jax.Array]
  result, _ = _forward(features, head, label, form)
  return result


def _backward(form: Form, saved: Any, cotangents: Any) -> Any:
  del form
  pull, errors = saved
  everyone, head = pull(errors * (cotangents[0] / errors.shape[0]))
  features = parallel.scatter(everyone) * parallel.axis_size()
  return features, head, None


_loss.defvjp(_forward, _backward)


def _in_head(path: Any) -> bool:
  return any(getattr(key, "key", None) == HEAD for key in path)

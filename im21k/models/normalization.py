"""BatchNorm and ReLU, and a max-pool behind them, in few passes over memory.

On a GPU a step of training spends most of its time at reading and writing tensors, so
passes over them are what counts. Forward they are two: one for both statistics, one
that normalises. Backward they are two: one for both sums, one for the gradient. Where a
max-pool follows, it comes first, since ReLU and normalisation keep the order of values:
all but the statistics and the last gradient then takes a quarter.

Names and rules of parameters and statistics are those of flax's BatchNorm.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from im21k.models import pooling
from im21k.models.order import after

# Stride and padding of a max-pool; see `pooling.max_pool`.
Pool = tuple[int, tuple[tuple[int, int], tuple[int, int]]]


class BatchNorm(nn.Module):
  """BatchNorm, then ReLU, of `[b, h, w, c]`; parameters and statistics are float32.

  Attributes:
    features: channels.
    momentum: moving = momentum · moving + (1 − momentum) · batch.
    epsilon: added to the (biased) variance.
    axis_name: mapped axis over which statistics are shared; None: each device its own.
  """

  features: int
  momentum: float
  epsilon: float
  axis_name: str | None = None

  def setup(self) -> None:
    shape, start = (self.features,), nn.initializers
    self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
    self.var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
    self.scale = self.param("scale", start.ones, shape, jnp.float32)
    self.bias = self.param("bias", start.zeros, shape, jnp.float32)

  def sign(self) -> jax.Array:
    """Of each scale, 1 or -1."""
    return jnp.where(self.scale < 0, -1.0, 1.0)

  def moving(self, x: jax.Array, offset: jax.Array) -> jax.Array:
    """Normalises `x + offset` by the moving statistics.

    Args:
      x: `[b, h, w, c]`.
      offset: `[c]`.
    """
    factor = lax.rsqrt(self.var.value + self.epsilon) * self.scale
    return _rectify(x, self.mean.value - offset, factor, self.bias)

  def own(
    self, x: jax.Array, offset: jax.Array, pool: Pool | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """Normalises `sign() · x + offset` by statistics of its own, and moves the moving.

    With the sign of the scale, larger values of `x` have larger results, and nothing
    but the moving mean needs to know of it.

    Args:
      x: `[b, h, w, c]`.
      offset: `[c]`; it changes the moving mean only.
      pool: geometry of a max-pool.

    Returns:
      The result, and its max-pool; without one, the result again.
    """
    sign = self.sign()
    axis = None if self.is_initializing() else self.axis_name
    arguments = x, sign * self.scale, self.bias, self.epsilon, axis
    y, mean, var = rectified(*arguments, None)
    if not self.is_initializing():
      mean = sign * mean + offset
      for moving, new in ((self.mean, mean), (self.var, var)):
        new = lax.stop_gradient(new)
        moving.value = self.momentum * moving.value + (1 - self.momentum) * new
    # What is not used of both is not computed.
    return y, rectified(*arguments, pool)[0] if pool else y


class _Kept(NamedTuple):
  """What the backward pass reads: `x`, of a pool the maxima of `x`, and `[c]`s."""

  x: jax.Array
  maxima: jax.Array | None
  place: jax.Array | None
  mean: jax.Array
  inverse: jax.Array
  factor: jax.Array
  edge: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def rectified(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  epsilon: float,
  axis_name: str | None,
  pool: Pool | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """relu((x − mean) / √(var + epsilon) · scale + bias), or its max-pool; mean; var.

  Mean and variance are those of each channel of `x`, and have no gradient here. No
  scale is below 0.
  """
  results: tuple[jax.Array, jax.Array, jax.Array]
  results, _ = _forward(x, scale, bias, epsilon, axis_name, pool)
  return results


def _forward(
  x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis: Any, pool: Any
) -> tuple[Any, _Kept]:
  mean, var = statistics(x, axis)
  inverse = lax.rsqrt(var + epsilon)
  factor = inverse * scale
  maxima = place = None
  if pool:
    maxima, place = pooling.largest(x, *pool)
  y = _rectify(x if maxima is None else maxima, mean, factor, bias)
  # ReLU lets pass what is above the edge.
  edge = mean - bias / factor
  return (y, mean, var), _Kept(x, maxima, place, mean, inverse, factor, edge)


def _backward(
  epsilon: float, axis: Any, pool: Any, kept: _Kept, cotangents: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
  del epsilon
  dy, x = cotangents[0], kept.x
  source = x if kept.maxima is None else kept.maxima
  masked = _masked(dy, source, kept)
  total, slope = totals(masked, masked * _normal(source, kept))
  count = x.size // x.shape[-1]
  shared, tilt = (_over_devices(each / count, axis) for each in (total, slope))
  # Both halves compute the same of `dy` and `x`. Without an order XLA would keep what
  # costs less to compute than to read.
  kept = _later(kept, shared[0])
  masked = _masked(dy, source, kept)
  if kept.place is not None:
    _, h, w, _ = x.shape
    masked = pooling.spread(kept.place, masked, (h, w), *pool)
  dx = masked - _along(shared) - _normal(x, kept) * _along(tilt)
  return (dx * _along(kept.factor)).astype(x.dtype), slope, total


def _later(kept: _Kept, token: jax.Array) -> _Kept:
  """The same, but its `[c]`s are not available before the token is."""
  names = ("mean", "inverse", "factor", "edge")
  again = after({name: getattr(kept, name) for name in names}, token)
  return kept._replace(**again)


def _normal(x: jax.Array, kept: _Kept) -> jax.Array:
  return _centred(x, kept.mean) * _along(kept.inverse)


def _masked(dy: jax.Array, x: jax.Array, kept: _Kept) -> jax.Array:
  """The gradient in front of ReLU."""
  rectified = x.astype(jnp.float32) > _along(kept.edge)
  return jnp.where(rectified, dy.astype(jnp.float32), 0)


rectified.defvjp(_forward, _backward)


def _rectify(x: jax.Array, mean: Any, factor: jax.Array, bias: jax.Array) -> jax.Array:
  y = _centred(x, mean) * _along(factor) + _along(bias)
  return jnp.maximum(y, 0).astype(x.dtype)


def _centred(x: jax.Array, mean: jax.Array) -> jax.Array:
  return x.astype(jnp.float32) - _along(mean)


def _along(x: jax.Array) -> jax.Array:
  """`[c]` -> `[1, 1, 1, c]`."""
  return x[None, None, None]


def statistics(
  x: jax.Array, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
  """Mean and biased variance of each channel of `[b, h, w, c]`, in one pass.

  The sums are of differences to one value of the channel, amid the first image. The
  variance loses as many digits as the square of its distance from the mean has more
  than the variance: it is k times as large in one of k channels at most (Chebyshev), so
  3 of the 7 digits are lost in one of 1,000, and none where all values are equal.
  """
  x = x.astype(jnp.float32)
  count = x.size // x.shape[-1]
  some = x[0, x.shape[1] // 2, x.shape[2] // 2]
  centred = x - _along(some)
  offset, square = (total / count for total in totals(centred, centred * centred))
  mean = some + offset
  var = jnp.maximum(square - offset * offset, 0)
  if axis_name is None:
    return mean, var
  common = _over_devices(mean, axis_name)
  return common, _over_devices(var + (mean - common) ** 2, axis_name)


def _over_devices(x: jax.Array, axis_name: str | None) -> jax.Array:
  if axis_name is None:
    return x
  everyone: jax.Array = lax.all_gather(x, axis_name)
  return everyone.mean(0)


def totals(*tensors: jax.Array) -> tuple[jax.Array, ...]:
  """Sum of every channel of several tensors: float32 `[b, h, w, c]` -> `[c]`.

  XLA's CPU backend adds up a channel's values one after another: over the 100,000 of a
  small batch at 112² that leaves 5 digits of a variance, and 3 of most gradients. There
  rows are added up first, then their sums; on GPUs sums are trees anyway.
  """
  sums: tuple[jax.Array, ...] = lax.platform_dependent(
    *tensors, cpu=_in_turn, default=_together
  )
  return sums


def _together(*tensors: jax.Array) -> tuple[jax.Array, ...]:
  """One reduction, so that XLA cannot keep what several would have in common."""
  zeros = (jnp.zeros((), jnp.float32),) * len(tensors)

  def add(left: Any, right: Any) -> Any:
    return tuple(a + b for a, b in zip(left, right, strict=True))

  return tuple(lax.reduce(tensors, zeros, add, (0, 1, 2)))


def _in_turn(*tensors: jax.Array) -> tuple[jax.Array, ...]:
  # Without the barriers XLA would make one sum of them again.
  rows = lax.optimization_barrier([x.sum(2) for x in tensors])
  images = lax.optimization_barrier([x.sum(1) for x in rows])
  return tuple(x.sum(0) for x in images)

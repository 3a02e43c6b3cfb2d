"""Convolution + BatchNorm + ReLU, and the pools in both geometries of the original.

Images are `[b, h, w, c]` throughout.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax.ad_checkpoint import checkpoint_name

from im21k.models import pooling as pools

POOLINGS = ("ceil", "floor")
AVERAGE_POOLS = ("ignored", "counted")


class ConvBN(nn.Module):
  """Convolution with bias, BatchNorm, ReLU: the only kind of layer in the trunk.

  In training the bias has no effect, since BatchNorm subtracts the mean. Its gradient
  is 0 without the sum that would give rounding errors of 0, and that XLA fuses with the
  gradient of the layer's input, which then cannot take the place of another tensor:
  200 MiB in the stem at batch 64. The bias itself stays, as others' files have it.

  Attributes:
    features: output channels.
    kernel: side of the square kernel.
    strides: step of the kernel in both directions.
    padding: zeros on each side of the image.
    conv: makes the convolution, given features, kernel size, strides and padding.
    norm: makes the BatchNorm, given `use_running_average`.
  """

  features: int
  kernel: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  strides: int = 1
  padding: int = 0

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    x = self.conv(
      self.features,
      (self.kernel, self.kernel),
      strides=self.strides,
      padding=self.padding,
      promote_dtype=_constant_bias if train else promote_dtype,
      name="conv",
    )(x)
    x = checkpoint_name(x, "conv")  # what policy `norm` keeps: see `remat`
    return nn.relu(self.norm(use_running_average=not train, name="bn")(x))


def _constant_bias(x: Any, kernel: Any, bias: Any, dtype: Any) -> list[Any]:
  """Flax's promotion of a convolution's arrays, whose bias has no gradient."""
  return promote_dtype(x, kernel, jax.lax.stop_gradient(bias), dtype=dtype)


def max_pool(x: jax.Array, pooling: str, halving: bool = False) -> jax.Array:
  """Largest value in 3x3 windows, every second one.

  Args:
    x: `[b, h, w, c]`.
    pooling: `ceil`, as trained in 2015: no padding, and where the side is even a last
      window that extends over the right and bottom edge; or `floor`: one row of padding
      on every side, as in the files published later.
    halving: whether the output must have ceil(side / 2) rows, as that of the parallel
      convolution of stride 2. It matters for `ceil` and odd sides only, which the
      original could not process: they are padded by one on every side.
  """

  def pads(side: int) -> tuple[int, int]:
    if pooling == "floor" or (halving and side % 2):
      return 1, 1
    outputs = max(1, -((3 - side) // 2) + 1)
    return 0, max(0, 2 * (outputs - 1) + 3 - side)

  h, w = x.shape[1:3]
  return pools.max_pool(x, 2, (pads(h), pads(w)))


def local_pool(x: jax.Array, kind: str, average_pool: str) -> jax.Array:
  """3x3 pool of every window, which keeps the size.

  Args:
    x: `[b, h, w, c]`.
    kind: `avg` or `max`.
    average_pool: whether padding counts in the divisor of an average: `ignored`, as on
      the GPUs of the original, or `counted`, as in MXNet on CPU and in all its releases
      after November 2016.
  """
  if kind == "max":
    return pools.max_pool(x, 1, ((1, 1), (1, 1)))
  if average_pool == "counted":
    return pools.sum_pool(x) / 9
  return pools.sum_pool(x) / pools.sum_pool(jnp.ones((1, *x.shape[1:3], 1), x.dtype))

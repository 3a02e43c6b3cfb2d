"""Convolution + BatchNorm + ReLU, and the pools in both geometries of the original.

Images are `[b, h, w, c]` throughout.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from im21k.models import convolution
from im21k.models import pooling as pools
from im21k.models.normalization import BatchNorm, Pool

POOLINGS = ("ceil", "floor")
AVERAGE_POOLS = ("ignored", "counted")

# The result of a convolution without its bias, and the bias.
Convolved = tuple[jax.Array, jax.Array]


class Weights(nn.Module):
  """Kernel and bias of a convolution, with the names and first values of `nn.Conv`.

  Attributes:
    features: output channels.
    kernel: side of the square kernel.
    kernel_init: makes its first values; those of the bias are 0.
  """

  features: int
  kernel: int
  kernel_init: nn.initializers.Initializer

  @nn.compact
  def __call__(self, channels: int) -> tuple[jax.Array, jax.Array]:
    """Kernel `[k, k, channels, features]` and bias `[features]`, float32."""
    shape = (self.kernel, self.kernel, channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
    zeros = nn.initializers.zeros
    return kernel, self.param("bias", zeros, (self.features,), jnp.float32)


class ConvBN(nn.Module):
  """Convolution with bias, BatchNorm, ReLU: the only kind of layer in the trunk.

  In training the bias has no effect, since BatchNorm subtracts the mean: it is added to
  the moving mean, and has no gradient. It is there, since others' files have it.

  Attributes:
    features: output channels.
    kernel: side of the square kernel.
    norm: makes the BatchNorm.
    kernel_init: makes the kernel's first values.
    strides: step of the kernel in both directions.
    padding: zeros on each side of the image.
  """

  features: int
  kernel: int
  norm: Callable[[int], BatchNorm]
  kernel_init: nn.initializers.Initializer
  strides: int = 1
  padding: int = 0

  def setup(self) -> None:
    self.conv = Weights(self.features, self.kernel, self.kernel_init)
    self.bn = self.norm(self.features)

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """`[b, h, w, c]` -> `[b, h, w, features]`."""
    return self.rectified(convolved([self], x, train)[0], train)

  def pooled(
    self, x: jax.Array, train: bool, pooling: str
  ) -> tuple[jax.Array, jax.Array]:
    """The result, and its `max_pool`."""
    (y, bias), *_ = convolved([self], x, train)
    pool = _geometry(y.shape[1:3], pooling)
    if not train:
      y = self.bn.moving(y, bias)
      return y, pools.max_pool(y, *pool)
    both: tuple[jax.Array, jax.Array] = self.bn.own(y, bias, pool)
    return both

  def rectified(self, convolved: Convolved, train: bool) -> jax.Array:
    """BatchNorm and ReLU of what `convolved` gave."""
    y, bias = convolved
    result: jax.Array = self.bn.own(y, bias)[0] if train else self.bn.moving(y, bias)
    return result

  def weights(self, channels: int, train: bool) -> tuple[jax.Array, jax.Array]:
    """Kernel, in training times `bn.sign()`, and bias, by the channels of the image."""
    kernel, bias = self.conv(channels)
    return kernel * self.bn.sign()[None, None, None] if train else kernel, bias


def convolved(layers: Sequence[ConvBN], x: jax.Array, train: bool) -> list[Convolved]:
  """The convolutions of several layers of the same image, as a single one.

  So the image is read once, and its gradient written once. All have the same kernel
  size, strides and padding.
  """
  first = layers[0]
  weights = (each.weights(x.shape[-1], train) for each in layers)
  kernels, biases = zip(*weights, strict=True)
  y = convolution.conv2d(
    x,
    jnp.concatenate(kernels, axis=-1).astype(x.dtype),
    (first.strides,) * 2,
    [(first.padding,) * 2] * 2,
    convolution.NHWC,
  )
  y = checkpoint_name(y, "conv")  # what policy `norm` keeps: see `remat`
  ends = [sum(b.size for b in biases[: i + 1]) for i in range(len(biases) - 1)]
  return list(zip(jnp.split(y, ends, axis=-1), biases, strict=True))


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
  return pools.max_pool(x, *_geometry(x.shape[1:3], pooling, halving))


def _geometry(sides: Sequence[int], pooling: str, halving: bool = False) -> Pool:
  def pads(side: int) -> tuple[int, int]:
    if pooling == "floor" or (halving and side % 2):
      return 1, 1
    outputs = max(1, -((3 - side) // 2) + 1)
    return 0, max(0, 2 * (outputs - 1) + 3 - side)

  height, width = sides
  return 2, (pads(height), pads(width))


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

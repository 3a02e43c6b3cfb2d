"""Convolution with lax's numbers, whose gradients are fast on CPU too.

`conv2d(images, kernel, …) -> images` stands in for `lax.conv_general_dilated`. Only
programs for CPU change; one for a GPU holds the convolutions that lax makes, forward
and backward, and nothing else.

XLA's convolutions reach 16 GFLOP/s in the filter gradient on CPU where its own
matrix product reaches 90. CPU ms at batch 16 on two busy EPYC cores, plain -> here:

  layer               forward      image gradient   filter gradient   (PyTorch's)
  224² 7x7/2 3->96    115          none             986 -> 197        (170)
  56² 3x3 128->288    477          525 -> 512       3393 -> 570       (584)
  28² 3x3 96->144     49           44 -> 43         161 -> 51         (69)
  28² 1x1 480->96     25 -> 16     26 -> 15         135 -> 19         (33)
  14² 3x3 160->192    26           29 -> 25         70 -> 29          (50)
  7² 1x1 1024->352    12 -> 7      12 -> 6          22 -> 9           (25)
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# `[b, h, w, c]` images, `[h, w, c_in, c_out]` kernels.
NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
_Pair = tuple[int, int]


def conv2d(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[_Pair],
  dimension_numbers: Any = None,
  **options: Any,
) -> jax.Array:
  """Convolves as `lax.conv_general_dilated` does, up to float32 rounding.

  What the network has (float32 `[b, h, w, c]` by `[h, w, c, c]`, any strides, padding
  narrower than the kernel) takes the fast way on CPU; dilations, groups, other
  layouts and types go to lax as they are. Forward-mode differentiation (`jax.jvp`) is
  lost with the custom gradient, except where lax is called.

  Args:
    lhs: images `[b, h, w, c]`, or as `dimension_numbers` says.
    rhs: kernel `[h, w, c_in, c_out]`, or as `dimension_numbers` says.
    window_strides: steps of the kernel in both directions.
    padding: `SAME`, `VALID` or pairs of zeros before and after.
    dimension_numbers: as for lax.
    options: the other arguments of `lax.conv_general_dilated`, such as `rhs_dilation`.
  """
  strides = tuple(window_strides)
  known = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) == NHWC
  pads: Sequence[Any] = ()
  if not isinstance(padding, str):
    pads = padding
  elif known:
    pads = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
  fits = (
    known
    and lhs.dtype == rhs.dtype == jnp.float32
    and all(_is_default(name, value) for name, value in options.items())
    # Beyond, gradients need negative padding, which jaxlib 0.10.2 gets wrong on CPU.
    and all(0 <= p < k for k, pair in zip(rhs.shape, pads, strict=False) for p in pair)
  )
  if fits:
    y: jax.Array = _conv(lhs, rhs, strides, tuple((low, high) for low, high in pads))
    return y
  return lax.conv_general_dilated(
    lhs, rhs, window_strides, padding, dimension_numbers=dimension_numbers, **options
  )


def _is_default(option: str, value: Any) -> bool:
  """Whether an option of lax has the value that leaves the convolution plain."""
  if option.endswith("_dilation"):
    return all(step == 1 for step in value or ())
  if option.endswith("_group_count"):
    return bool(value == 1)
  return value is None


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: jax.Array, w: jax.Array, strides: _Pair, pads: Any) -> jax.Array:
  plain = functools.partial(_plain, strides=strides, pads=pads)
  if _pointwise(w, strides, pads):
    y: jax.Array = lax.platform_dependent(x, w, cpu=_matmul, default=plain)
    return y
  return plain(x, w)


def _forward(x: jax.Array, w: jax.Array, strides: _Pair, pads: Any) -> Any:
  return _conv(x, w, strides, pads), (x, w)


def _backward(strides: _Pair, pads: Any, saved: Any, dy: jax.Array) -> Any:
  x, w = saved
  plain = functools.partial(_plain, strides=strides, pads=pads)
  if _pointwise(w, strides, pads):
    image, kernel = _matmul_image_gradient, _matmul_kernel_gradient
  else:
    image = functools.partial(_image_gradient, strides=strides, pads=pads)
    kernel = functools.partial(_kernel_gradient, strides=strides, pads=pads)
  # Two choices, not one, so that a gradient without a use is not computed.
  dx = lax.platform_dependent(
    x,
    w,
    dy,
    cpu=image,
    default=lambda x, w, dy: jax.linear_transpose(lambda x: plain(x, w), x)(dy)[0],
  )
  dw = lax.platform_dependent(
    x,
    w,
    dy,
    cpu=kernel,
    default=lambda x, w, dy: jax.linear_transpose(lambda w: plain(x, w), w)(dy)[0],
  )
  return dx, dw


_conv.defvjp(_forward, _backward)


def _plain(x: jax.Array, w: jax.Array, strides: Any, pads: Any) -> jax.Array:
  return lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=NHWC)


def _pointwise(w: jax.Array, strides: _Pair, pads: Any) -> bool:
  return w.shape[:2] == strides == (1, 1) and not any(map(any, pads))


def _matmul(x: jax.Array, w: jax.Array) -> jax.Array:
  return lax.dot_general(x, w[0, 0], (((3,), (0,)), ((), ())))


def _matmul_image_gradient(x: jax.Array, w: jax.Array, dy: jax.Array) -> jax.Array:
  del x
  return lax.dot_general(dy, w[0, 0], (((3,), (1,)), ((), ())))


def _matmul_kernel_gradient(x: jax.Array, w: jax.Array, dy: jax.Array) -> jax.Array:
  return _correlate(x, dy).reshape(w.shape)


def _image_gradient(
  x: jax.Array, w: jax.Array, dy: jax.Array, strides: _Pair, pads: Any
) -> jax.Array:
  """A convolution with the kernel rotated in advance: XLA rotates it slowly."""
  rotated = w[::-1, ::-1].transpose(0, 1, 3, 2)
  around = [
    (k - 1 - low, low + side - 1 - (outputs - 1) * stride)
    for k, side, outputs, stride, (low, _) in zip(
      w.shape[:2], x.shape[1:3], dy.shape[1:3], strides, pads, strict=True
    )
  ]
  return lax.conv_general_dilated(
    dy, rotated, (1, 1), around, lhs_dilation=strides, dimension_numbers=NHWC
  )


def _kernel_gradient(
  x: jax.Array, w: jax.Array, dy: jax.Array, strides: _Pair, pads: Any
) -> jax.Array:
  """Patches times output gradient, summed over pairs of images.

  A pair's patches fit the cache: all at once are 31 % slower at 56² and 1.8 times at
  28², one image at a time is some 10 % slower at 7²; and less memory is needed.
  """
  pair = math.gcd(x.shape[0], 2)

  def add(total: jax.Array, images: Any) -> Any:
    return total + _correlate(patches(images[0]), images[1]), None

  def patches(x: jax.Array) -> jax.Array:
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *_no_gaps(pads), (0, 0, 0)])
    (height, width), (down, right) = dy.shape[1:3], strides
    return jnp.concatenate(
      [
        x[
          :,
          i : i + (height - 1) * down + 1 : down,
          j : j + (width - 1) * right + 1 : right,
        ]
        for i in range(w.shape[0])
        for j in range(w.shape[1])
      ],
      axis=-1,
    )

  def split(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0] // pair, pair, *x.shape[1:])

  zero = jnp.zeros((math.prod(w.shape[:3]), w.shape[3]), w.dtype)
  return lax.scan(add, zero, (split(x), split(dy)))[0].reshape(w.shape)


def _no_gaps(pads: Any) -> list[tuple[int, int, int]]:
  return [(low, high, 0) for low, high in pads]


def _correlate(x: jax.Array, dy: jax.Array) -> jax.Array:
  """`[b, h, w, m]`, `[b, h, w, n]` -> `[m, n]`."""
  x, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
  return lax.dot_general(x, dy, (((0,), (0,)), ((), ())))

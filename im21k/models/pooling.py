"""3x3 pools with lax's numbers, whose gradients need little memory and time.

Images are `[b, h, w, c]`. XLA turns the gradient of a maximum into a reduction over
pairs of value and position, and a scatter. For GPUs that takes much memory, where the
images are largest; on CPU, much time too, so float32 programs for CPU have forms of
their own. CPU ms at batch 16 on two busy EPYC cores, lax -> here:

  gradient of the maximum, 112² x 96, every second window    587 -> 126
  the same, 56² x 288 / 28² x 480                            549 -> 110 / 211 -> 31
  gradient of the maximum, 7² x 1024, every window           106 -> 3
  sum, 28² x 288, every window, and its gradient             14 -> 4
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_SAME = ((1, 1), (1, 1))
_Pair = tuple[int, int]


def max_pool(x: jax.Array, stride: int, padding: Any) -> jax.Array:
  """Largest value in 3x3 windows; padding is never the largest.

  The gradient goes to the first of equal values, row by row, as in lax. Backprop keeps
  one byte for each window, the place of its largest value, and not `x`.

  Args:
    x: `[b, h, w, c]`.
    stride: of the windows in both directions, 1 or 2.
    padding: `((top, bottom), (left, right))`, a tuple of tuples.
  """
  y: jax.Array = _max_pool(x, x.shape[1:3], stride, padding)
  return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, sides: _Pair, stride: int, padding: Any) -> jax.Array:
  del sides
  around = ((0, 0), *padding, (0, 0))
  windows, strides = (1, 3, 3, 1), (1, stride, stride, 1)
  y: jax.Array = lax.reduce_window(x, -jnp.inf, lax.max, windows, strides, around)
  return y


def _max_forward(x: jax.Array, sides: _Pair, stride: int, padding: Any) -> Any:
  del sides
  return largest(x, stride, padding)


def largest(x: jax.Array, stride: int, padding: Any) -> tuple[jax.Array, jax.Array]:
  """Largest value in 3x3 windows, and its place there, 0 to 8: row by row, the first.

  The largest of a window with NaNs is its last NaN. Arguments are those of `max_pool`.
  """
  (_, h, w, _), windows = x.shape, []
  rows, columns = (
    (side + sum(pair) - 3) // stride + 1
    for side, pair in zip((h, w), padding, strict=True)
  )
  low = jnp.asarray(-jnp.inf, x.dtype)
  padded = lax.pad(x, low, [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])
  for i, j in itertools.product(range(3), repeat=2):
    down, right = (
      slice(first, first + (count - 1) * stride + 1, stride)
      for first, count in ((i, rows), (j, columns))
    )
    windows.append(padded[:, down, right])
  best, place = windows[8], jnp.full(windows[8].shape, 8, jnp.int8)
  for k in reversed(range(8)):
    value = windows[k]
    # Of windows on their own XLA would make a pass over the image each.
    wins = ~((value < best) | (best != best))
    best, place = jnp.where(wins, value, best), jnp.where(wins, jnp.int8(k), place)
  return best, place


def _max_backward(
  sides: _Pair, stride: int, padding: Any, place: jax.Array, dy: jax.Array
) -> Any:
  return (spread(place, dy, sides, stride, padding),)


_max_pool.defvjp(_max_forward, _max_backward)


def spread(
  place: jax.Array, dy: jax.Array, sides: _Pair, stride: int, padding: Any
) -> jax.Array:
  """Adds each window's value to the pixel at its place: the transpose of a max-pool.

  Args:
    place: of each window, as `largest` gives it.
    dy: a value for each window.
    sides: height and width of the result.
    stride: as for `max_pool`.
    padding: as for `max_pool`.
  """

  def gradient(form: Any) -> Any:
    return functools.partial(form, sides=sides, stride=stride, padding=padding)

  fast = _by_parity if dy.dtype == jnp.float32 else _by_place
  cpu, default = gradient(fast), gradient(_by_place)
  dx: jax.Array = lax.platform_dependent(place, dy, cpu=cpu, default=default)
  return dx


def _by_place(
  place: jax.Array, dy: jax.Array, sides: _Pair, stride: int, padding: Any
) -> jax.Array:
  """Nine sparse images, added up: XLA makes one loop over the pixels of it on GPUs."""
  total: Any = None
  for k in range(9):
    edges = []
    for offset, side, count, (before, _) in zip(
      divmod(k, 3), sides, dy.shape[1:3], padding, strict=True
    ):
      first = offset - before
      edges.append((first, side - first - stride * (count - 1) - 1, stride - 1))
    won = jnp.where(place == k, dy, 0).astype(jnp.float32)
    image = lax.pad(won, jnp.float32(0), [(0, 0, 0), *edges, (0, 0, 0)])
    total = image if total is None else total + image
  summed: jax.Array = total.astype(dy.dtype)
  return summed


def _by_parity(
  place: jax.Array, dy: jax.Array, sides: _Pair, stride: int, padding: Any
) -> jax.Array:
  """Each pixel adds up the windows it won; with stride 2, by parity of its place."""
  zero = jnp.zeros((), dy.dtype)
  (b, rows, columns, c), (h, w) = dy.shape, sides
  # A place i pixels down in window m is in cell m + i // stride.
  reach = 2 // stride
  ring = [(0, 0, 0), (reach, reach, 0), (reach, reach, 0), (0, 0, 0)]
  # Without the barrier every use would search for the maximum again.
  place, dy = lax.optimization_barrier(
    (lax.pad(place, jnp.int8(9), ring), lax.pad(dy, zero, ring))
  )
  cells = (rows + reach, columns + reach)

  def won(i: int, j: int) -> jax.Array:
    top, left = reach - i // stride, reach - j // stride
    window = (slice(None), slice(top, top + cells[0]), slice(left, left + cells[1]))
    return jnp.where(place[window] == 3 * i + j, dy[window], 0)

  def cell(down: int, right: int) -> jax.Array:
    places = [
      won(i, j) for i in range(down, 3, stride) for j in range(right, 3, stride)
    ]
    return functools.reduce(jnp.add, places)

  parities = range(stride)
  dx = jnp.stack(
    [jnp.stack([cell(i, j) for j in parities], axis=3) for i in parities], axis=2
  ).reshape(b, cells[0] * stride, cells[1] * stride, c)
  (top, _), (left, _) = padding
  height, width = dx.shape[1:3]
  inside = [(-top, h + top - height, 0), (-left, w + left - width, 0)]
  return lax.pad(dx, zero, [(0, 0, 0), *inside, (0, 0, 0)])


@jax.custom_vjp
def sum_pool(x: jax.Array) -> jax.Array:
  """Sum over the 3x3 window around each pixel; zeros outside. Keeps the size."""
  if x.dtype != jnp.float32:
    return _sum(x)
  total: jax.Array = lax.platform_dependent(x, cpu=_sum_in_turn, default=_sum)
  return total


# A sum over neighbours is its own transpose.
sum_pool.defvjp(lambda x: (sum_pool(x), None), lambda _, dy: (sum_pool(dy),))


def _sum(x: jax.Array) -> jax.Array:
  around = ((0, 0), *_SAME, (0, 0))
  windows, strides = (1, 3, 3, 1), (1, 1, 1, 1)
  total: jax.Array = lax.reduce_window(x, 0.0, lax.add, windows, strides, around)
  return total


def _sum_in_turn(x: jax.Array) -> jax.Array:
  h, w = x.shape[1:3]
  x = jnp.pad(x, ((0, 0), *_SAME, (0, 0)))
  x = x[:, :, :w] + x[:, :, 1 : w + 1] + x[:, :, 2:]
  return x[:, :h] + x[:, 1 : h + 1] + x[:, 2:]

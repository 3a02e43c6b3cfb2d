"""The pools are lax's window reductions, ties included, on every backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from im21k.models import pooling

SAME = ((1, 1), (1, 1))


def plain_max(x, stride, padding):
  return nn.max_pool(x, (3, 3), (stride, stride), padding)


def plain_sum(x):
  return nn.pool(x, 0.0, lax.add, (3, 3), None, SAME)


def value_and_gradient(pool, x, *arguments):
  @jax.jit
  def both(x):
    y, pull = jax.vjp(lambda x: pool(x, *arguments), x)
    dy = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
    return y, pull(dy)[0]

  return [np.asarray(a, "float64") for a in both(x)]


def levels(shape, count, dtype="float32"):
  """Images of a few levels only: most windows have ties."""
  x = np.random.default_rng(0).integers(0, count, shape) - count // 2
  return jnp.asarray(x, dtype)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
  st.tuples(*(st.integers(1, n) for n in (3, 12, 12, 3))),
  st.integers(1, 2),
  st.tuples(*(st.tuples(st.integers(0, 2), st.integers(0, 2)) for _ in range(2))),
  st.sampled_from([1, 2, 5, 1000]),
)
def test_max_equals_lax_for_any_geometry_and_ties(shape, stride, padding, count):
  if any(s + sum(p) < 3 for s, p in zip(shape[1:3], padding, strict=True)):
    return
  x = levels(shape, count)
  y, dx = value_and_gradient(pooling.max_pool, x, stride, padding)
  their_y, their_dx = value_and_gradient(plain_max, x, stride, padding)
  np.testing.assert_array_equal(y, their_y)
  np.testing.assert_allclose(dx, their_dx, rtol=1e-5, atol=1e-5)


def test_the_first_of_equal_values_gets_the_gradient():
  dx = jax.grad(lambda x: pooling.max_pool(x, 1, ((0, 0), (0, 0))).sum())(
    jnp.zeros((1, 3, 3, 1))
  )
  assert dx[0, 0, 0, 0] == 1 and dx.sum() == 1


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.tuples(*(st.integers(1, n) for n in (3, 9, 9, 3))))
def test_sum_equals_lax(shape):
  x = jnp.asarray(np.random.default_rng(0).normal(size=shape), "float32")
  ours, theirs = (value_and_gradient(p, x) for p in (pooling.sum_pool, plain_sum))
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_lax():
  x = levels((2, 9, 9, 3), 100, "bfloat16")
  y, dx = value_and_gradient(pooling.max_pool, x, 2, SAME)
  their_y, their_dx = value_and_gradient(plain_max, x, 2, SAME)
  np.testing.assert_array_equal(y, their_y)
  # Up to four windows add up: here in float32, there in bfloat16.
  np.testing.assert_allclose(dx, their_dx, rtol=2**-7, atol=2**-7)
  for a, b in zip(
    value_and_gradient(pooling.sum_pool, x), value_and_gradient(plain_sum, x),
    strict=True,
  ):  # fmt: skip
    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
  st.tuples(*(st.integers(1, n) for n in (2, 12, 12, 2))),
  st.integers(1, 2),
  st.tuples(*(st.tuples(st.integers(0, 2), st.integers(0, 2)) for _ in range(2))),
  st.sampled_from([1, 2, 5, 1000]),
)
def test_the_gradient_for_gpus_is_that_for_cpus(shape, stride, padding, count):
  if any(s + sum(p) < 3 for s, p in zip(shape[1:3], padding, strict=True)):
    return
  sides = shape[1:3]
  y, place = pooling._max_forward(levels(shape, count), sides, stride, padding)
  dy = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), "float32")
  ours = pooling._by_place(place, dy, sides, stride, padding)
  theirs = pooling._by_parity(place, dy, sides, stride, padding)
  np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_nan_wins_and_gets_the_gradient():
  x = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(jnp.nan)
  y, pull = jax.vjp(lambda x: pooling.max_pool(x, 1, ((0, 0), (0, 0))), x)
  assert np.isnan(y).all()
  assert pull(jnp.ones_like(y))[0][0, 1, 1, 0] == 1


def test_backprop_keeps_one_byte_a_window():
  x = jnp.zeros((2, 8, 8, 3))
  _, pull = jax.vjp(lambda x: pooling.max_pool(x, 2, SAME), x)
  assert [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(pull)] == [
    (jnp.int8, (2, 4, 4, 3))
  ]


@pytest.mark.parametrize("platform", ["cuda", "cpu"])
@pytest.mark.parametrize("stride", [1, 2])
def test_no_program_scatters(platform, stride):
  def both(x):
    y, pull = jax.vjp(lambda x: pooling.max_pool(pooling.sum_pool(x), stride, SAME), x)
    return pull(y)

  x = jax.ShapeDtypeStruct((2, 8, 8, 3), "float32")
  text = jax.jit(both).trace(x).lower(lowering_platforms=(platform,)).as_text()
  on_gpu = platform == "cuda"
  assert "stablehlo.select_and_scatter" not in text
  assert ("stablehlo.optimization_barrier" in text) != on_gpu
  # Sums over windows, there and back, are lax's for GPUs.
  assert text.count('"stablehlo.reduce_window"') == (2 if on_gpu else 0)


@pytest.mark.slow
@pytest.mark.parametrize(
  "transform", [jax.checkpoint, jax.jit, jax.vmap], ids=lambda t: t.__name__
)
def test_gradient_under_transformations(transform):
  x = levels((2, 3, 8, 8, 2), 5)

  def total(max_pool, sum_pool):
    def pools(x):
      return max_pool(sum_pool(x), 2, SAME) ** 2

    apply = transform(pools)
    return jax.grad(lambda x: apply(x if transform is jax.vmap else x[0]).sum())(x)

  ours, theirs = total(pooling.max_pool, pooling.sum_pool), total(plain_max, plain_sum)
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)

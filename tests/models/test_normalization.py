"""BatchNorm, ReLU and max-pool are flax's, over one device and over four."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.models.normalization import BatchNorm, rectified, statistics, totals

SETTINGS = {"momentum": 0.1, "epsilon": 1e-5}
POOL = (2, ((1, 1), (0, 1)))


def case(shape=(8, 5, 6, 3), dtype="float32", seed=0):
  """Images, and variables with scales of both signs and 0."""
  rng = np.random.default_rng(seed)
  x = jnp.asarray(rng.normal(2, 3, shape), dtype)
  leaves = {"scale": [1.5, -0.7, 0.0], "bias": rng.normal(size=3)}
  stats = {"mean": rng.normal(size=3), "var": rng.uniform(0.5, 2, 3)}
  variables = {"params": leaves, "batch_stats": stats}
  return x, jax.tree.map(jnp.float32, variables, is_leaf=lambda x: isinstance(x, list))


class Ours(nn.Module):
  """The layer as `layers.ConvBN` uses it, of `x` itself in place of a convolution."""

  train: bool
  pool: tuple | None = None
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x):
    bn = BatchNorm(x.shape[-1], axis_name=self.axis_name, name="bn", **SETTINGS)
    offset = jnp.zeros(x.shape[-1])
    if not self.train:
      return bn.moving(x, offset)
    y, pooled = bn.own(
      x * bn.sign().astype(x.dtype)[None, None, None], offset, self.pool
    )
    return y if self.pool is None else pooled


class Theirs(nn.Module):
  train: bool
  pool: tuple | None = None
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x):
    bn = nn.BatchNorm(
      use_running_average=not self.train, use_fast_variance=False, dtype=self.dtype,
      name="bn", **SETTINGS,
    )  # fmt: skip
    y = nn.relu(bn(x))
    return nn.max_pool(y, (3, 3), (2, 2), POOL[1]) if self.pool else y


def results(module, x, variables):
  """Output, updated statistics, and gradients of parameters and input."""
  variables = {kind: {"bn": tree} for kind, tree in variables.items()}
  y = jax.eval_shape(lambda: module.apply(variables, x, mutable="batch_stats"))[0]
  weight = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), x.dtype)

  def loss(params, x):
    y, updates = module.apply({**variables, "params": params}, x, mutable="batch_stats")
    return (y * weight).sum(), (y, updates)

  gradients, (y, updates) = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)
  return y, updates, gradients


def assert_same(ours, theirs, rtol):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)

  def compare(a, b):
    assert a.dtype == b.dtype
    a, b = np.float64(a), np.float64(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1, np.abs(b).max()))

  jax.tree.map(compare, ours, theirs)


@pytest.mark.parametrize(
  ("train", "pool"), [(False, None), (True, None), (True, POOL)],
  ids=["moving", "own", "pooled"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_equals_flaxs(dtype, train, pool):
  x, variables = case(dtype=dtype)
  ours = results(Ours(train, pool), x, variables)
  with jax.numpy_dtype_promotion("standard"):  # Flax mixes types.
    theirs = results(Theirs(train, pool, dtype), x, variables)
  if pool and dtype == "float32":
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
  if pool:
    # Where scale is 0 all results are equal, and lax's gradient goes to the first of a
    # window, ours to the place of the largest input: that of the scale differs.
    ours, theirs = (
      (y, u, (jax.tree.map(lambda leaf: leaf[..., :2], g[0]), g[1]))
      for y, u, g in (ours, theirs)
    )
  # In bfloat16 results have ties where inputs have none, so another pixel may win.
  if pool and dtype == "bfloat16":
    ours, theirs = ((*one[:2], one[2][0]) for one in (ours, theirs))
  assert_same(ours, theirs, 1e-4 if dtype == "float32" else 0.05)


@settings(max_examples=15, deadline=None)
@given(
  st.tuples(*(st.integers(1, n) for n in (3, 9, 9))),
  st.tuples(*(st.tuples(st.integers(0, 2), st.integers(0, 2)) for _ in range(2))),
  st.integers(1, 2),
  st.integers(0, 99),
)
def test_a_max_pool_before_is_one_behind(shape, padding, stride, seed):
  """Values bit by bit, gradients to rounding, in any geometry and with any scale."""
  if any(s + sum(p) < 3 for s, p in zip(shape[1:], padding, strict=True)):
    return
  rng = np.random.default_rng(seed)
  x = jnp.asarray(rng.normal(size=(*shape, 4)), "float32")
  scale = jnp.asarray(rng.uniform(0.1, 2, 4), "float32")
  bias = jnp.asarray(rng.normal(size=4), "float32")

  def plain(x, scale, bias):
    y = rectified(x, scale, bias, 1e-5, None, None)[0]
    return nn.max_pool(y, (3, 3), (stride, stride), padding)

  def ours(x, scale, bias):
    return rectified(x, scale, bias, 1e-5, None, (stride, padding))[0]

  (a, pull), (b, their_pull) = (jax.vjp(f, x, scale, bias) for f in (ours, plain))
  np.testing.assert_array_equal(a, b)
  dy = jnp.asarray(rng.normal(size=a.shape), "float32")
  for found, expected in zip(pull(dy), their_pull(dy), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pool", [None, POOL])
def test_four_devices_together_are_one(pool):
  x, variables = case()
  alone = results(Ours(True, pool), x, variables)
  module = Ours(True, pool, "d")
  wrapped = {kind: {"bn": tree} for kind, tree in variables.items()}
  weight = jnp.asarray(np.random.default_rng(1).normal(size=alone[0].shape), x.dtype)

  def total(params, x, weight):
    own = {**wrapped, "params": params}
    y, updates = module.apply(own, x, mutable="batch_stats")
    return (y * weight).sum(), (y, updates)

  def split(x):
    return x.reshape(4, -1, *x.shape[1:])

  def step(x, weight):
    gradients, (y, updates) = jax.grad(total, (0, 1), has_aux=True)(
      wrapped["params"], x, weight
    )
    return y, updates, gradients

  y, updates, (params, dx) = jax.pmap(step, "d")(split(x), split(weight))
  joined = (
    y.reshape(alone[0].shape),
    jax.tree.map(lambda leaf: leaf[0], updates),
    (jax.tree.map(lambda leaf: leaf.sum(0), params), dx.reshape(x.shape)),
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), joined, alone
  )


def test_an_offset_moves_the_moving_mean_alone():
  x, variables = case()
  bn = BatchNorm(3, **SETTINGS)
  run = functools.partial(bn.apply, variables, x, method="own", mutable="batch_stats")
  (y, _), plain = run(jnp.zeros(3))
  (moved, _), updates = run(jnp.array([1.0, 2.0, 3.0]))
  np.testing.assert_array_equal(y, moved)
  for name, change in (("mean", 0.9 * np.arange(1.0, 4)), ("var", 0.0)):
    difference = updates["batch_stats"][name] - plain["batch_stats"][name]
    np.testing.assert_allclose(difference, change + np.zeros(3), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
  st.tuples(*(st.integers(1, n) for n in (4, 20, 20))), st.integers(0, 99),
  st.floats(-1e4, 1e4), st.floats(1e-2, 1e2),
)  # fmt: skip
def test_statistics_keep_their_digits_far_from_zero(shape, seed, center, spread):
  """Sums of squares alone would lose all digits at 10,000 times the spread."""
  x = np.random.default_rng(seed).normal(center, spread, (*shape, 5)).astype("float32")
  mean, var = statistics(jnp.asarray(x))
  exact = np.float64(x)
  np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(
    var, exact.var((0, 1, 2)), rtol=1e-4, atol=1e-5 * spread**2
  )


@pytest.mark.parametrize("value", [0.0, 1e-20, 3.1415927, -123456.7])
def test_of_equal_values_the_variance_is_nothing(value):
  mean, var = statistics(jnp.full((4, 9, 9, 2), value))
  assert (np.asarray(mean) == np.float32(value)).all() and not np.any(var)


def test_of_values_that_are_none_neither_is_a_number():
  x = jnp.zeros((2, 4, 4, 2)).at[1, 2, 3, 0].set(jnp.nan)
  for found in statistics(x):
    assert np.isnan(found).tolist() == [True, False]


def test_the_sum_of_many_values_keeps_its_digits():
  """XLA's own sum over as many on CPU is off by some 1e-5."""
  x = np.random.default_rng(0).uniform(0, 1, (8, 112, 112, 4)).astype("float32")
  found = jax.jit(totals)(x, 2 * x)
  for factor, total in enumerate(found, 1):
    expected = factor * np.float64(x).sum((0, 1, 2))
    np.testing.assert_allclose(total, expected, rtol=1e-6)

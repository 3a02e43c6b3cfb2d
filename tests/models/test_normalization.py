"""BatchNorm is flax's, over one device and over four, and more exact on CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from im21k.models.normalization import BatchNorm, mean_of

SETTINGS = {"momentum": 0.1, "epsilon": 1e-5}


def case(shape=(8, 5, 6, 3), dtype="float32"):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(2, 3, shape), dtype)
  leaves = {"scale": rng.uniform(0.5, 2, 3), "bias": rng.normal(size=3)}
  stats = {"mean": rng.normal(size=3), "var": rng.uniform(0.5, 2, 3)}
  variables = {"params": leaves, "batch_stats": stats}
  return x, jax.tree.map(jnp.float32, variables)


def results(norm, x, variables):
  """Output, updated statistics, and gradients of parameters and input."""
  weight = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), x.dtype)

  def loss(params, x):
    y, updates = norm.apply({**variables, "params": params}, x, mutable="batch_stats")
    return (y * weight).sum(), (y, updates)

  gradients, (y, updates) = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)
  return y, updates, gradients


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_equals_flaxs(dtype, running):
  x, variables = case(dtype=dtype)
  shared = {**SETTINGS, "dtype": dtype, "use_running_average": running}
  ours = results(BatchNorm(**shared), x, variables)
  with jax.numpy_dtype_promotion("standard"):  # Flax mixes types.
    theirs = results(nn.BatchNorm(use_fast_variance=False, **shared), x, variables)
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  rtol = 1e-4 if dtype == "float32" else 0.05

  def compare(a, b):
    assert a.dtype == b.dtype
    a, b = np.float64(a), np.float64(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())

  jax.tree.map(compare, ours, theirs)


def test_four_devices_together_are_one():
  x, variables = case()
  alone = results(BatchNorm(use_running_average=False, **SETTINGS), x, variables)
  norm = BatchNorm(use_running_average=False, axis_name="d", **SETTINGS)
  weight = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), x.dtype)

  def total(params, x, weight):
    y, updates = norm.apply({**variables, "params": params}, x, mutable="batch_stats")
    return (y * weight).sum(), (y, updates)

  def split(x):
    return x.reshape(4, -1, *x.shape[1:])

  def step(x, weight):
    gradients, (y, updates) = jax.grad(total, (0, 1), has_aux=True)(
      variables["params"], x, weight
    )
    return y, updates, gradients

  y, updates, (params, dx) = jax.pmap(step, "d")(split(x), split(weight))
  joined = (
    y.reshape(x.shape),
    jax.tree.map(lambda leaf: leaf[0], updates),
    (jax.tree.map(lambda leaf: leaf.sum(0), params), dx.reshape(x.shape)),
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), joined, alone
  )


def test_the_mean_of_many_values_keeps_its_digits():
  """XLA's own sum over as many on CPU is off by some 1e-5."""
  x = np.random.default_rng(0).uniform(0, 1, (8, 112, 112, 4)).astype("float32")
  found = jax.jit(mean_of)(x)
  np.testing.assert_allclose(found, np.float64(x).mean((0, 1, 2)), rtol=1e-6)

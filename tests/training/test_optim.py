"""The update rule against a transcription of MXNet's, schedules."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k.training import optim


def test_update_is_that_of_mxnet_through_a_change_of_rate():
  schedule = optim.stepwise([0.1, 0.01], [5])
  optimizer = optim.sgd(schedule, momentum=0.9, weight_decay=0.05)
  rng = np.random.default_rng(0)
  weight = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
  params = {key: jnp.asarray(value, jnp.float32) for key, value in weight.items()}
  state = optimizer.init(params)
  momentum = {key: np.zeros_like(value) for key, value in weight.items()}
  for step in range(12):
    gradient = {key: rng.normal(size=value.shape) for key, value in weight.items()}
    lr = 0.1 if step < 5 else 0.01
    for key in weight:
      momentum[key] *= 0.9
      momentum[key] -= lr * (gradient[key] + 0.05 * weight[key])
      weight[key] += momentum[key]
    as_jax = {key: jnp.asarray(value, jnp.float32) for key, value in gradient.items()}
    updates, state = optimizer.update(as_jax, state, params)
    params = optax.apply_updates(params, updates)
  for key in weight:
    np.testing.assert_allclose(params[key], weight[key], rtol=1e-5)


def test_decay_on_kernels_leaves_vectors_alone():
  optimizer = optim.sgd(optax.constant_schedule(1.0), weight_decay=0.5, decay="kernels")
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  zeros = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  np.testing.assert_array_equal(updates["kernel"], -0.5 * np.ones((2, 2)))
  np.testing.assert_array_equal(updates["bias"], np.zeros(2))


def test_misspelt_decay_is_an_error():
  with pytest.raises(ValueError, match="decay is 'kernel', but must be"):
    optim.sgd(optax.constant_schedule(1.0), decay="kernel")


def test_stepwise_rate_changes_at_the_step_named():
  schedule = optim.stepwise([0.05, 0.01, 0.005, 0.001], [40, 60, 80])
  rates = [float(schedule(s)) for s in (0, 39, 40, 59, 60, 79, 80, 1000)]
  np.testing.assert_allclose(
    rates, [0.05, 0.05, 0.01, 0.01, 0.005, 0.005, 0.001, 0.001], rtol=1e-6
  )


@pytest.mark.parametrize("until", [[5], [5, 3], []])
def test_stepwise_needs_one_ascending_change_fewer_than_rates(until):
  with pytest.raises(ValueError, match="3 learning rates need 2 ascending changes"):
    optim.stepwise([3.0, 2.0, 1.0], until)


def test_cosine_rises_then_falls_to_nothing():
  schedule = optim.cosine(0.4, 10, 110)
  rates = [float(schedule(s)) for s in (0, 5, 10, 60, 110)]
  np.testing.assert_allclose(rates, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-6)


def test_warm_up_longer_than_the_run_is_an_error():
  with pytest.raises(
    ValueError, match=r"10 steps .* 9 steps of the run: set schedule.w"
  ):
    optim.cosine(0.4, 10, 9)


@pytest.mark.parametrize(
  ("keys", "form"),
  [(optim.Linear, lambda z: z), (optim.Rex, lambda z: z / (0.5 + 0.5 * z))],
)
def test_rates_that_fall_otherwise_do_so_from_the_peak_to_nothing(keys, form):
  warmup = optim.Duration(10, "steps")
  schedule = keys(peak=0.4, warmup=warmup).make(8, 800, 110)
  np.testing.assert_allclose(schedule(5), 0.2, rtol=1e-6)
  for step in (10, 35, 60, 85, 110):
    wanted = 0.4 * form(1 - (step - 10) / 100)
    np.testing.assert_allclose(schedule(step), wanted, rtol=1e-5, atol=1e-8)
  assert float(schedule(500)) == 0.0
  with pytest.raises(ValueError, match=r"warm-up of 10 steps must be shorter"):
    keys(peak=0.4, warmup=warmup).make(8, 800, 10)


def test_nesterov_is_that_of_pytorch():
  """Where the rate is constant, their forms with the rate inside and outside agree."""
  optimizer = optim.sgd(
    optax.constant_schedule(0.1), momentum=0.9, weight_decay=0.05, nesterov=True
  )
  rng = np.random.default_rng(0)
  weight, buffer = rng.normal(size=(3, 2)), np.zeros((3, 2))
  params = {"kernel": jnp.asarray(weight, jnp.float32)}
  state = optimizer.init(params)
  for _ in range(8):
    gradient = rng.normal(size=(3, 2))
    with_decay = gradient + 0.05 * weight
    buffer = 0.9 * buffer + with_decay
    weight = weight - 0.1 * (with_decay + 0.9 * buffer)
    as_jax = {"kernel": jnp.asarray(gradient, jnp.float32)}
    updates, state = optimizer.update(as_jax, state, params)
    params = optax.apply_updates(params, updates)
  np.testing.assert_allclose(params["kernel"], weight, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_gradients_are_clipped_by_their_norm_over_all_parameters(scale):
  optimizer = optim.sgd(
    optax.constant_schedule(1.0), momentum=0.0, weight_decay=0.5, clip_norm=2.0
  )
  rng = np.random.default_rng(1)
  params = {key: rng.normal(size=4).astype(np.float32) for key in "ab"}
  gradient = {key: scale * rng.normal(size=4).astype(np.float32) for key in "ab"}
  norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
  assert (norm > 2) == (scale > 1)
  updates, _ = optimizer.update(gradient, optimizer.init(params), params)
  for key in "ab":  # The decay is added to what was clipped.
    wanted = -(gradient[key] * min(1, 2 / norm) + 0.5 * params[key])
    np.testing.assert_allclose(updates[key], wanted, rtol=1e-5)

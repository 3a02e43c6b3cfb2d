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

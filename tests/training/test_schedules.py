"""Learning rates by step."""

import numpy as np
import pytest

from im21k.training import schedules
from im21k.training.durations import Duration


def test_stepwise_rate_changes_at_the_step_named():
  schedule = schedules.stepwise([0.05, 0.01, 0.005, 0.001], [40, 60, 80])
  rates = [float(schedule(s)) for s in (0, 39, 40, 59, 60, 79, 80, 1000)]
  np.testing.assert_allclose(
    rates, [0.05, 0.05, 0.01, 0.01, 0.005, 0.005, 0.001, 0.001], rtol=1e-6
  )


@pytest.mark.parametrize("until", [[5], [5, 3], []])
def test_stepwise_needs_one_ascending_change_fewer_than_rates(until):
  with pytest.raises(ValueError, match="3 learning rates need 2 ascending changes"):
    schedules.stepwise([3.0, 2.0, 1.0], until)


def test_cosine_rises_then_falls_to_nothing():
  schedule = schedules.cosine(0.4, 10, 110)
  rates = [float(schedule(s)) for s in (0, 5, 10, 60, 110)]
  np.testing.assert_allclose(rates, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-6)


def test_warm_up_longer_than_the_run_is_an_error():
  with pytest.raises(
    ValueError, match=r"10 steps .* 9 steps of the run: set schedule.w"
  ):
    schedules.cosine(0.4, 10, 9)


@pytest.mark.parametrize(
  ("keys", "form"),
  [(schedules.Linear, lambda z: z), (schedules.Rex, lambda z: z / (0.5 + 0.5 * z))],
)
def test_rates_that_fall_otherwise_do_so_from_the_peak_to_nothing(keys, form):
  warmup = Duration(10, "steps")
  schedule = keys(peak=0.4, warmup=warmup).make(8, 800, 110)
  np.testing.assert_allclose(schedule(5), 0.2, rtol=1e-6)
  for step in (10, 35, 60, 85, 110):
    wanted = 0.4 * form(1 - (step - 10) / 100)
    np.testing.assert_allclose(schedule(step), wanted, rtol=1e-5, atol=1e-8)
  assert float(schedule(500)) == 0.0
  with pytest.raises(ValueError, match=r"warm-up of 10 steps must be shorter"):
    keys(peak=0.4, warmup=warmup).make(8, 800, 10)

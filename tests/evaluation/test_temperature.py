"""Temperature against the truth, losses against float64."""

import numpy as np
import pytest

from im21k.answers.calibration import softmax
from im21k.evaluation import temperature as temperatures


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(temperature):
  rng = np.random.default_rng(2)
  logits = rng.normal(scale=2, size=(8000, 12)).astype(np.float32)
  labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)
  found = temperatures.best_temperature(logits * temperature, labels)
  assert found == pytest.approx(temperature, rel=0.05)
  losses = [
    temperatures.cross_entropy(logits * temperature, labels, found * factor)
    for factor in (0.99, 1, 1.01)
  ]
  assert losses[1] == min(losses)
  curve = temperatures.reliability(softmax(logits * temperature, found), labels)
  assert curve["share"].sum() == pytest.approx(1)
  np.testing.assert_allclose(
    (curve["confidence"] * curve["share"]).sum(),
    (curve["accuracy"] * curve["share"]).sum(), atol=0.02,
  )  # fmt: skip


def exact_loss(logits, labels, temperature):
  z = logits.astype(np.float64) / temperature
  return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels])


def test_the_temperature_is_that_of_least_loss_to_a_thousandth(rng):
  logits = (3 * rng.normal(size=(900, 40))).astype(np.float32)
  labels = rng.integers(0, 40, 900)
  labels[:500] = logits[:500].argmax(1)
  found = temperatures.best_temperature(logits, labels)
  grid = found * np.linspace(0.99, 1.01, 201)
  losses = [exact_loss(logits, labels, at) for at in grid]
  assert grid[int(np.argmin(losses))] == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize(("right", "end"), [(True, 1 / 20), (False, 20)])
def test_where_no_temperature_is_best_the_end_of_the_range_is(right, end):
  logits = np.eye(5, dtype=np.float32)
  labels = np.arange(5) if right else (np.arange(5) + 1) % 5
  found = temperatures.best_temperature(logits, labels)
  assert found == pytest.approx(end, rel=2e-3)


def test_cross_entropy_is_exact_over_several_blocks(rng):
  logits = (50 * rng.normal(size=(200, 30))).astype(np.float32)
  labels = rng.integers(0, 30, 200)
  for at in (1.0, 3.0):
    assert temperatures.cross_entropy(logits, labels, at) == pytest.approx(
      exact_loss(logits, labels, at), rel=1e-6
    )


def test_calibration_error_is_counted_by_hand():
  """Two bins: 0.6 said and 1/2 right, 0.9 said and always right."""
  p = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]], np.float32)
  curve = temperatures.reliability(p, np.array([0, 1, 0, 1]))
  np.testing.assert_allclose(curve["share"], [0.5, 0.5])
  np.testing.assert_allclose(curve["accuracy"], [0.5, 1])
  assert temperatures.calibration_error(curve) == pytest.approx(0.1)

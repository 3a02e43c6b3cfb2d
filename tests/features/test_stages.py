"""One stage of a network, and nothing that it does not need."""

import jax
import numpy as np
import pytest

from im21k.features import stages


def test_stages_are_those_of_the_model_with_their_shapes(tiny_weights):
  known = stages.shapes(tiny_weights)
  assert known["features"] == (136,) and known["logits"] == (21841,)
  assert known["conv1"] == (16, 16, 16) and known["5b"] == (1, 1, 136)


def test_a_stage_that_is_none_is_refused_with_the_nearest(tiny_weights):
  with pytest.raises(ValueError, match=r"^stage is 'feature', which .* 'features'"):
    stages.shape_of(tiny_weights, "feature")


def test_only_what_is_asked_for_is_compiled(tiny_weights):
  """The convolutions of `pool1` are one; the head is in no stage but the logits."""
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.uint8)

  def program(stage):
    run = jax.jit(stages.forward(tiny_weights, stage))
    return run.lower(tiny_weights.variables, images).compile().as_text()

  assert "21841" in program("logits")
  assert "21841" not in program("features")
  assert program("pool1").count(" convolution(") <= 1
  assert len(program("pool1")) < len(program("features")) / 5


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 2e-3)])
def test_values_are_the_models(released, dtype, tolerance, rng):
  images = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
  found = stages.forward(released, "features", dtype)(released.variables, images)
  assert found.dtype == dtype
  tiles = images.reshape(3, 4, 8, 4, 8, 3).mean((2, 4)).reshape(3, 48)
  np.testing.assert_allclose(
    np.float64(found), tiles - 117, rtol=tolerance, atol=tolerance * 10
  )

"""A narrow Inception-BN of ten classes, with random statistics, calibrated."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest

from im21k import models, synsets, weights
from im21k.answers import calibration

FIELDS = {"width": 0.125, "num_classes": 10, "bn_epsilon": 1e-5}
NEEDS = {"jax": ["flatbuffers"], "onnx": ["onnx", "onnxruntime"], "torch": ["torch"]}
CLASSES = synsets.imagenet21k().synsets
LISTED = synsets.ClassList("ten", CLASSES[100:8100:800])


def drawn(**fields):
  """Weights of a narrow net whose every array matters."""
  fields = {**FIELDS, **fields}
  model = models.create("inception_bn_21k", **fields)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False),
    jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32),
  )
  rng = np.random.default_rng(0)

  def draw(path, shape):
    match path[-1].key:
      case "kernel":
        scale = np.sqrt(6 / np.prod(shape.shape[:-1]))
        array = rng.uniform(-scale, scale, shape.shape)
      case "scale":
        array = rng.uniform(0.5, 1.5, shape.shape)
        array[::7] *= -1
      case "var":
        array = rng.uniform(0.5, 2, shape.shape)
      case _:
        array = rng.normal(0, 0.2, shape.shape)
    return array.astype(np.float32)

  return weights.Weights(
    model_name="inception_bn_21k",
    model_fields=fields,
    variables=jax.tree_util.tree_map_with_path(draw, shapes),
    input=weights.Input(size=64, short_side=73, mean=(120.0, 110.0, 100.0), std=60.0),
    classes=LISTED,
  )


@pytest.fixture
def need_for(need):
  """`need_for(format)`: skips a test where a format's libraries are missing."""

  def need_for(format):
    missing = [name for name in NEEDS[format] if not importlib.util.find_spec(name)]
    what = f"{missing} are missing: pip install 'im21k[{format}]'"
    if (
      missing and format == "torch"
    ):  # Too large for the extra `dev`: no failure in CI.
      pytest.skip(what)
    need(not missing, what)

  return need_for


@pytest.fixture(scope="session")
def narrow():
  """Weights of a narrow net."""
  return drawn()


@pytest.fixture
def saved(narrow, calibrated, tmp_path):
  """Their release folder, calibrated."""
  narrow.save(tmp_path / "weights")
  return calibrated(tmp_path / "weights")


@pytest.fixture(scope="session")
def with_size():
  """`with_size(released, size)`: the same weights for images of another side."""

  def with_size(released, size):
    shape = dataclasses.replace(released.input, size=size, short_side=size)
    return dataclasses.replace(released, input=shape)

  return with_size


@pytest.fixture(scope="session")
def drawn_with():
  """`drawn_with(**fields)`: weights of another narrow net."""
  return drawn


@pytest.fixture(scope="session")
def calibrated():
  """Calibrates a release folder: temperature 0.7, λ 1.5 for 0.9 and 0.2 for 0.6."""

  def calibrate(folder):
    found = calibration.Calibration(0.7, {0.6: 0.2, 0.9: 1.5}, 30)
    calibration.save(folder / weights.ARRAYS, found)
    return folder

  return calibrate

"""The defaults and the shipped recipe are those of 2015: each number has one home."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from im21k import models, original, weights
from im21k.training import configs, optim

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "im21k").rglob("*.py"))


@pytest.mark.parametrize("name", models.names())
def test_a_models_settings_are_the_originals(name):
  model = models.create(name)
  assert model.bn_epsilon == original.BN_EPSILON == 1e-10
  assert model.bn_momentum == original.BN_MOMENTUM == 0.1
  assert model.init_scale == original.INIT_SCALE == 0.01


def test_the_wide_nets_classes_are_the_originals():
  assert models.create("inception_bn_21k").num_classes == original.CLASSES


def test_optimizer_and_input_default_to_the_originals():
  defaults = {
    name: parameter.default
    for name, parameter in inspect.signature(optim.sgd).parameters.items()
  }
  assert defaults["momentum"] == original.MOMENTUM
  assert defaults["weight_decay"] == original.WEIGHT_DECAY
  fields = {field.name: field.default for field in dataclasses.fields(weights.Input)}
  assert (fields["mean"], fields["std"]) == (original.MEAN, 1.0)


def test_the_shipped_recipe_is_the_originals():
  config = configs.load("inception_bn_21k")
  assert config.batch_size == original.BATCH_SIZE
  assert config.devices == original.DEVICES
  assert config.image_size == original.IMAGE_SIZE
  assert config.mean == original.MEAN
  assert config.total.steps(config.batch_size, original.IMAGES) == pytest.approx(
    original.PASSES * original.IMAGES / original.BATCH_SIZE, abs=1
  )
  schedule = config.make_schedule(original.IMAGES)
  steps_per_pass = original.IMAGES / original.BATCH_SIZE
  for first, rate in zip(
    (0, *original.RATE_CHANGES), original.LEARNING_RATES, strict=True
  ):
    assert float(schedule(int((first + 0.5) * steps_per_pass))) == pytest.approx(rate)


def test_the_learning_curve_has_a_mark_for_every_pass():
  assert len(original.TRAIN_TOP_1) == original.PASSES
  assert len(original.RATE_CHANGES) == len(original.LEARNING_RATES) - 1


@pytest.mark.parametrize(
  "number", ["14_197_087", "14197087", "41.9", "68.3", "37.2", "11.7"]
)
def test_results_of_the_original_stand_in_one_file(number):
  word = re.compile(rf"(?<![\d.]){re.escape(number)}(?![\d.])")
  found = {p.name for p in SOURCES if word.search(p.read_text(encoding="utf-8"))}
  assert found <= {"original.py"}

"""Durations, rates and batches by the number of photos."""

import dataclasses

import pytest

from im21k import weights
from im21k.finetuning import recipe
from im21k.training.config import Config


@pytest.mark.parametrize(
  ("photos", "steps", "warmup", "mixup"),
  [
    (100, 500, 100, 0.0),
    (19_999, 500, 100, 0.0),
    (20_000, 10_000, 500, 0.1),
    (499_999, 10_000, 500, 0.1),
    (500_000, 20_000, 500, 0.1),
  ],
)
def test_durations_are_those_of_bit(photos, steps, warmup, mixup):
  chosen = recipe.choose(photos, 4, "train")
  assert (chosen.steps, chosen.warmup, chosen.mixup) == (steps, warmup, mixup)


def test_the_number_of_photos_decides_and_the_reason_is_said():
  few = recipe.choose(recipe.FEW - 1, 1)
  enough = recipe.choose(recipe.FEW, 1)
  assert (few.trunk, enough.trunk) == ("frozen", "train")
  assert few.why.startswith(f"{recipe.FEW - 1:,} photos, fewer than")
  assert recipe.choose(10, 1, "train").trunk == "train"
  assert recipe.choose(10**6, 1, "frozen").why == "as asked"


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("photos", [1, 7, 120, 1_000, 10**6])
def test_devices_share_the_batch(photos, devices):
  chosen = recipe.choose(photos, devices)
  assert chosen.batch_size % devices == 0
  assert chosen.batch_size <= 512
  if photos >= 10**6:
    assert chosen.batch_size >= 64 * min(devices, 8) * 3 / 4


def test_what_is_given_stays():
  chosen = recipe.choose(120, 2, "train", steps=50, batch_size=10, rate=0.5)
  assert (chosen.steps, chosen.batch_size, chosen.rate) == (50, 10, 0.5)
  assert chosen.warmup == 10
  assert recipe.choose(120, 2, "train", batch_size=20).rate == 0.003


@pytest.mark.parametrize("given", [{"steps": 9}, {"batch_size": 9}, {"rate": 0.1}])
@pytest.mark.parametrize("trunk", ["frozen", "auto"])
def test_what_has_no_effect_is_refused(given, trunk):
  (name,) = given
  with pytest.raises(ValueError, match=f"{name} is for the training of all parameters"):
    recipe.choose(120, 1, trunk, **given)
  recipe.choose(recipe.FEW, 1, "train", **given)


def test_the_run_is_of_the_network_of_the_weights(tiny_weights):
  odd = weights.Input(48, 60, mean=(1.0, 2.0, 3.0), std=9.0)
  released = dataclasses.replace(tiny_weights, input=odd)
  chosen = recipe.choose(25_000, 2, "train", steps=40)
  config = recipe.config(
    chosen, released, data="photos", start="head", devices=2, seed=7
  )
  assert config.model == {
    "name": "inception_bn_21k", "width": 0.125, "bn_epsilon": 1e-5,
  }  # fmt: skip
  assert (config.data, config.classes, config.seed) == ("photos", "photos", 7)
  assert config.init.weights == "head" and config.init.head == "keep"
  assert (config.image_size, config.crop_from) == (48, 60)
  assert (config.mean, config.std) == ((1, 2, 3), 9)
  assert config.total.steps(1, 1) == 40 and config.mix.mixup == 0.1
  assert config.schedule.peak == chosen.rate and config.devices == 2
  assert Config.from_dict(config.to_dict()) == config
  scratch = recipe.config(
    chosen, released, data="photos", start=None, devices=2, seed=7
  )
  assert scratch.init is None

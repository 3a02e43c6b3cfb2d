"""What differs from the defaults: every key that does, and no other."""

import importlib.util
from pathlib import Path

import pytest

from im21k.pages import settings
from im21k.training import keys
from im21k.training.config import Config

CONFIGS = sorted(Path("experiments/configs").glob("*.py"))


def config_of(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return Config.from_dict({"data": "d", **module.get_config().to_dict()})


@pytest.mark.parametrize(
  "path", [p for p in CONFIGS if not p.stem.startswith("_")], ids=lambda p: p.stem
)
def test_with_what_differs_a_config_is_whole(path):
  """The defaults and the keys that are shown make the same config."""
  config = config_of(path)
  recorded = config.to_dict()
  shown = {name for name, *_ in settings.changed(recorded)}
  defaults = {key.name: key.default for key in keys.listing(Config) if not key.variants}
  for name, value in settings.flatten(recorded).items():
    if name in shown or name not in defaults:
      continue
    assert settings._plain(defaults[name]) == value, name
  assert "batch_size" in shown and "total" in shown


def test_a_key_says_its_value_its_default_and_what_it_means():
  rows = {
    row[0]: row[1:]
    for row in settings.changed(
      {"seed": 3, "threads": None, "total": {"epochs": 2}, "hashes": {"data": "ab"}}
    )
  }
  assert rows["seed"][:2] == ("3", "0") and rows["seed"][2].endswith(".")
  assert rows["total"][:2] == ("2 epochs", ""), "required: it has no default"
  assert "threads" not in rows and "hashes.data" not in rows


def test_only_keys_of_the_chosen_variant_are_shown():
  schedule = {"name": "cosine", "peak": 0.3, "warmup": {"steps": 5}}
  rows = {row[0]: row[1] for row in settings.changed({"schedule": schedule})}
  assert rows == {
    "schedule.name": "cosine", "schedule.peak": "0.3", "schedule.warmup": "5 steps"
  }  # fmt: skip


def test_a_default_is_that_of_the_chosen_variant():
  """SGD and Muon have keys of one name, with defaults of their own."""
  plain = {"name": "muon", "momentum": 0.95, "weight_decay": 0.01, "nesterov": True}
  assert [row[0] for row in settings.changed({"optimizer": plain})] == [
    "optimizer.name"
  ]
  rows = settings.changed({"optimizer": {**plain, "momentum": 0.9}})
  assert rows[1][:3] == ("optimizer.momentum", "0.9", "0.95")
  sgd = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}
  rows = settings.changed({"optimizer": sgd})
  assert [row[:3] for row in rows] == [("optimizer.weight_decay", "0.01", "1e-05")]
  older = settings.changed({"optimizer": {"momentum": 0.5}})  # before it had a name
  assert older[0][:3] == ("optimizer.momentum", "0.5", "0.9")


@pytest.mark.parametrize(
  ("value", "text"),
  [
    ({"epochs": [4, 6]}, "4, 6 epochs"),
    ({"steps": 1000}, "1,000 steps"),
    ({"examples": 0.5}, "0.5 examples"),
    (None, "none"),
    (True, "true"),
    ([1, "é"], '[1, "é"]'),
    ({}, "{}"),
    ({"steps": {"a": 1}}, "{'a': 1} steps"),
  ],
)
def test_values_as_text(value, text):
  assert settings.shown(value) == text


def test_all_that_was_recorded_is_listed():
  recorded = {"a": {"b": {"c": 1}}, "hashes": {"data": "x"}, "total": {"steps": 5}}
  assert settings.everything(recorded) == [
    ("a.b.c", "1"), ("hashes.data", "x"), ("total", "5 steps")
  ]  # fmt: skip

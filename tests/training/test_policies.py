"""`remat="fit"`: what it comes to on which device, and that a run keeps it."""

import json

import jax
import pytest

from im21k.training import configs, loop, policies
from im21k.training.config import Config
from im21k.training.setup import prepare
from im21k.training.workdir import Workdir

NARROW = {
  "model.width": 0.125, "image_size": 32, "batch_size": 8, "devices": 1,
  "model.remat": "fit",
}  # fmt: skip


class Device:
  """One that says how much memory it has."""

  def __init__(self, **stats):
    self.memory_stats = lambda: stats


@pytest.fixture
def config():
  return configs.load("inception_bn_21k", NARROW)


def test_without_memory_of_its_own_nothing_is_recomputed(config, capsys):
  assert policies.is_open(config)
  for stats in ({}, {"bytes_in_use": 3}):
    found = policies.for_devices(config, [Device(**stats)])
    assert found.model["remat"] == "none" and not policies.is_open(found)
  assert "model.remat fit: none" in capsys.readouterr().err
  assert policies.for_devices(found, [Device(bytes_limit=1)]) is found
  assert policies.for_devices(config, jax.devices()).model["remat"] == "none"


@pytest.mark.slow
def test_on_a_device_the_memory_decides_and_the_log_says_what(
  config, capsys, monkeypatch
):
  sizes = {"none": 3 << 20, "block": 1 << 20}
  asked = []

  def needed(one, batch, on):
    asked.append((one.model["remat"], batch))
    return sizes.get(str(one.model["remat"]), 2 << 20)

  monkeypatch.setattr(policies, "_needed", needed)
  found = {}
  for mib in (400, 30, 1):
    device = Device(bytes_limit=mib << 20)
    found[mib] = policies.for_devices(config, [device]).model["remat"]
  assert asked[0] == ("none", 8)
  assert found[400] == "none" and found[1] == "block"
  assert "model.remat fit: block, for 1 MiB" in capsys.readouterr().err


def test_a_warm_up_in_epochs_fits_a_total_in_steps(config, monkeypatch):
  """However many photos there are: they are not known where memory is asked for."""
  monkeypatch.setattr(policies, "_needed", lambda *_: 1 << 20)
  short = config.changed(
    {
      "schedule": {"name": "cosine", "peak": 0.1, "warmup": {"epochs": 1}},
      "total.steps": 40,
    }
  )
  found = policies.for_devices(short, [Device(bytes_limit=400 << 20)])
  assert found.model["remat"] == "none"


@pytest.mark.slow
def test_the_step_itself_is_compiled_to_confirm_it(config):
  """Here for the CPU. Its photos are among what it needs."""
  found = policies._needed(
    config.changed({"model.remat": "block"}), 8, jax.devices()[:1]
  )
  assert found > 8 * 32 * 32 * 3 + 3 * 4 * 21841 * 128


def test_a_resumed_run_keeps_what_it_came_to(config, tmp_path):
  assert policies.of_run(config, tmp_path) is config
  kept = {"conv1": "block", "3a": "norm"}
  document = config.changed({"model.remat": kept}).resolved().to_dict()
  (tmp_path / "config.json").write_text(json.dumps(document))
  assert policies.of_run(config, tmp_path).model["remat"] == kept
  other = config.changed({"model.remat": "block"})
  assert policies.of_run(other, tmp_path) is other  # and is refused later


@pytest.mark.parametrize(
  ("kept", "message"),
  [
    ({"conv9": "block"}, r"config\.json cannot be read .*'conv9'; did you mean"),
    (3, r"config\.json cannot be read .*model\.remat is 3, but"),
    (["block"], r"config\.json cannot be read "),
  ],
)
def test_damaged_policies_of_a_run_are_named(config, tmp_path, kept, message):
  (tmp_path / "config.json").write_text(json.dumps({"model": {"remat": kept}}))
  with pytest.raises(ValueError, match=message) as caught:
    policies.of_run(config, tmp_path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("document", [{}, {"model": 3}, {"model": {}}])
def test_what_has_no_policies_leaves_the_question_open(config, tmp_path, document):
  (tmp_path / "config.json").write_text(json.dumps(document))
  assert policies.of_run(config, tmp_path) is config


def test_the_loop_asks_the_work_folder_first(config, tmp_path, monkeypatch):
  seen = []

  def prepare(config, begun):
    seen.append(config.model["remat"])
    raise InterruptedError

  monkeypatch.setattr(loop, "prepare", prepare)
  (tmp_path / "config.json").write_text('{"model": {"remat": "norm"}}')
  with pytest.raises(InterruptedError):
    loop.train(config, tmp_path)
  assert seen == ["norm"]


def test_a_run_records_what_it_came_to(document, tmp_path):
  model = {"name": "inception_bn_21k", "width": 0.125, "remat": "fit"}
  config = Config.from_dict({**document, "model": model})
  run = prepare(config)
  Workdir(tmp_path, run).begin(0, {})
  recorded = json.loads((tmp_path / "config.json").read_text())
  assert recorded["model"]["remat"] == "none"
  again = prepare(policies.of_run(config, tmp_path))
  assert Workdir(tmp_path, again).history == []

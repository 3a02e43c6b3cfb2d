"""A run goes on as it began, also where today's default is another."""

import json

import pytest

from im21k.training import begun, loop, resume
from im21k.training.setup import prepare
from im21k.training.workdir import Workdir


def without(config, *names):
  """What an im21k wrote that had no such keys in `augment`."""
  document = config.resolved().to_dict()
  for name in names:
    del document["augment"][name]
  return document


def test_a_run_from_before_there_were_lanes_has_one(config):
  assert config.augment.lanes == 24
  before = without(config, "lanes")
  assert begun.as_begun(config, before).augment.lanes == 1
  assert resume.config_of(before).augment.lanes == 1
  for document in ({}, {"augment": 3}, {"augment": {}}):
    assert begun.as_begun(config, document).augment.lanes == 1


@pytest.mark.parametrize("lanes", [1, 12, 24])
def test_a_run_that_has_lanes_keeps_them(config, lanes):
  config = config.changed({"augment.lanes": lanes})
  assert begun.as_begun(config, config.to_dict()) is config
  assert resume.config_of(config.to_dict()) == config


def test_the_old_run_goes_on_and_other_lanes_are_refused(config, tmp_path):
  (tmp_path / "config.json").write_text(json.dumps(without(config, "lanes")))
  run = prepare(begun.of_run(config, tmp_path))
  assert run.loader.options.lanes == 1
  folder = Workdir(tmp_path, run)
  assert folder.history == []
  folder.begin(0, {})
  assert json.loads((tmp_path / "config.json").read_text())["augment"]["lanes"] == 1
  other = begun.of_run(config.changed({"augment.lanes": 12}), tmp_path)
  with pytest.raises(ValueError, match=r"augment\.lanes was 1, is 12"):
    Workdir(tmp_path, prepare(other))


def test_a_new_run_has_the_lanes_of_today(config, tmp_path):
  assert begun.of_run(config, tmp_path) is config


def test_the_loop_asks(config, tmp_path, monkeypatch):
  (tmp_path / "config.json").write_text(json.dumps(without(config, "lanes")))
  seen = []

  def stop(config, begun):
    seen.append(config.augment.lanes)
    raise InterruptedError

  monkeypatch.setattr(loop, "prepare", stop)
  with pytest.raises(InterruptedError):
    loop.train(config, tmp_path)
  assert seen == [1]

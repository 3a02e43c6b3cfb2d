"""Config files: shipped ones by name, from a checkout and from a wheel; one's own."""

import configparser
import shutil
from pathlib import Path

import pytest

import im21k
from im21k import cli
from im21k.training import configs, run

ROOT = Path(__file__).parents[2]


def test_shipped_configs_go_by_name_and_by_path():
  assert set(configs.names()) >= {"demo", "inception_bn_21k", "inception_bn_1k"}
  by_path = configs.load(ROOT / "experiments" / "configs" / "demo.py")
  assert configs.load("demo") == by_path


def test_a_wheel_carries_them(tmp_path, monkeypatch):
  """As setup.cfg places them, and where `configs` looks for them then."""
  setup = configparser.ConfigParser()
  setup.read(ROOT / "setup.cfg", encoding="utf-8")
  package, _, source = setup["options"]["package_dir"].strip().partition(" = ")
  assert package in setup["options"]["packages"].split()
  shutil.copytree(ROOT / source, tmp_path.joinpath(*package.split(".")))
  monkeypatch.setattr(im21k, "__file__", str(tmp_path / "im21k" / "__init__.py"))
  assert configs.folder() == tmp_path / "im21k" / "configs"
  assert configs.load("inception_bn_21k_smoothed").loss.name == "smoothed"


def test_settings_take_the_place_of_values_of_the_file():
  config = configs.load("demo", {"total.steps": 3, "loss.name": "smoothed"})
  assert config.to_dict()["total"] == {"steps": 3}
  assert config.to_dict()["loss"] == {"name": "smoothed", "beta": 30.0}


OWN = """
from im21k.training import configs

def get_config():
  config = configs.get_config("inception_bn_21k")
  config.batch_size = 128
  return {form}
"""


@pytest.mark.parametrize("form", ["config", "config.to_dict()"])
def test_a_file_of_ones_own_varies_a_shipped_config(tmp_path, form):
  path = tmp_path / "own.py"
  path.write_text(OWN.format(form=form))
  original = configs.load("inception_bn_21k")
  assert configs.load(path) == original.changed({"batch_size": 128})


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", r"has no function get_config\(\)"),
    ("get_config = 3", r"has no function get_config\(\)"),
    ("def get_config(): return 3", "must return a dict or ConfigDict"),
    ("def get_config(): return {}", "the config lacks data, model, total"),
  ],
)
def test_what_is_no_config_is_named(tmp_path, text, message):
  path = tmp_path / "own.py"
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    configs.load(path)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("inception_bn_21", "no config 'inception_bn_21'; did you mean 'inception_bn_21k'"),
    ("zzz", "no config 'zzz'; known: demo, "),
    ("zzz.py", "no config zzz.py: give a file, or a name that `im21k configs` lists"),
  ],
)
def test_a_config_that_is_not_there_offers_the_nearest(name, message):
  with pytest.raises(ValueError, match=message):
    configs.load(name)


# The commands.


def test_configs_are_listed_with_what_they_are():
  listed = run.configs()
  assert listed["configs"]["inception_bn_21k"].startswith("The original recipe")
  lines = run.configs_text(listed).splitlines()
  assert len(lines) == len(configs.names())


def test_keys_are_listed_with_all_that_is_known_of_them():
  listed = run.configs(keys=True)
  text = run.configs_text(listed)
  for row in listed["keys"]:
    assert row["text"].endswith(".") and f"{row['key']}: {row['type']}" in text
  assert "batch_size: a whole number (examples); default required; fixed on" in text


def test_train_takes_name_settings_and_a_default_folder(monkeypatch):
  calls = []

  def record(config, workdir, profile):
    calls.append((config.batch_size, config.devices, workdir, profile))
    return {"step": 5, "finished": False, "train_top_1": 0.5, "eval_top_1": None}

  monkeypatch.setattr(run.loop, "train", record)
  monkeypatch.setattr(run.xla, "set_up", lambda devices, **_: calls.append(devices))
  result = run.train("demo", settings={"batch_size": 8, "devices": 2})
  run.train("demo", workdir=Path("x"), profile=True)
  assert calls == [2, (8, 2, Path("runs/demo"), False), 4, (32, 4, Path("x"), True)]
  assert run.text(result) == "step 5, train top-1 50.0%\nstopped: run again"
  done = {**result, "finished": True, "eval_top_1": 0.25, "weights": "w"}
  assert run.text(done).splitlines() == [
    "step 5, train top-1 50.0%, held-out top-1 25.0%",
    "weights: w",
  ]


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_run_that_obeyed_a_signal_exits_as_shells_report_it(
  name, status, monkeypatch, capsys
):
  result = {"step": 5, "finished": False, "train_top_1": 0.5, "eval_top_1": None}
  stopped = {**result, "weights": None, "stopped_by": name}
  monkeypatch.setattr(run.loop, "train", lambda *_, **__: stopped)
  monkeypatch.setattr(run.xla, "set_up", lambda devices, **_: None)
  assert cli.main(["train", "demo"]) == status
  assert capsys.readouterr().out.endswith("stopped: run again\n")

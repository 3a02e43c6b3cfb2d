"""The whole path with the real demo config, shrunk: photos to named predictions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command):
  """Standard output of a command that must succeed."""
  done = subprocess.run(
    [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory):
  """A folder with packed photos and a short run of the demo."""
  work = tmp_path_factory.mktemp("work")
  run("-m", "im21k.cli", "pack", "data/sample_photos", work / "photos",
      "--eval-per-class", "1")  # fmt: skip
  run(
    "experiments/run.py", "--config=experiments/configs/demo.py",
    f"--workdir={work / 'run'}", f"--config.data={work / 'photos'}",
    "--config.image_size=32", "--config.model.width=0.125", "--config.total.epochs=2",
    "--config.schedule.warmup.epochs=1",
  )  # fmt: skip
  return work


def test_photos_become_named_predictions(work):
  photo = ROOT / "data/sample_photos/n01443537/categorization_fish25.jpg"
  out = json.loads(
    run(
      "-m",
      "im21k.cli",
      "predict",
      work / "run" / "weights",
      photo,
      "--plot",
      work / "picture.png",
      "--json",
    )
  )
  (prediction,) = out["predictions"]
  assert len(prediction["top"]) == 5
  assert {"synset", "name", "probability"} == prediction["top"][0].keys()
  assert (work / "picture.png").stat().st_size > 5000
  assert (work / "run" / "learning_curve.png").stat().st_size > 5000


def test_accuracy_is_measured_on_every_photo_once(work):
  out = json.loads(
    run(
      "-m",
      "im21k.cli",
      "evaluate",
      work / "run" / "weights",
      work / "photos",
      "--split",
      "train",
      "--json",
    )
  )
  assert out["rows"][0]["answers"] == "all 21,841"
  assert out["rows"][0]["images"] == 139


def test_the_run_and_evaluate_measure_the_same(work):
  """The held-out photos of the last evaluation of the run, scored again."""
  from im21k.evaluation.evaluate import evaluate

  lines = (work / "run" / "metrics.jsonl").read_text().splitlines()
  last = [row for row in map(json.loads, lines) if "eval_loss" in row][-1]
  row = evaluate(work / "run" / "weights", work / "photos")["rows"][0]
  assert row["loss"] == pytest.approx(last["eval_loss"], rel=1e-4)
  for name in ("top_1", "top_5", "top_20"):
    assert row[name] == last[f"eval_{name}"]


CONFIGS = sorted(path.stem for path in (ROOT / "experiments" / "configs").glob("*.py"))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_a_run_that_can_begin(name):
  """Its keys are known, its model and schedule exist, its docstring has a command."""
  import importlib.util

  from im21k import models
  from im21k.training import loop, optim

  path = ROOT / "experiments" / "configs" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = loop.Config.from_dict(module.get_config().to_dict())
  models.create(**config.model)
  optim.steps_in("total", config.total, config.batch_size, 10_000)
  assert f"--config=experiments/configs/{name}.py" in module.__doc__


def test_unknown_config_key_on_the_command_line_offers_the_nearest():
  done = subprocess.run(
    [sys.executable, "experiments/run.py", "--config=experiments/configs/demo.py",
     "--workdir=unused", "--config.batchsize=3"],
    capture_output=True, text=True, cwd=ROOT,
  )  # fmt: skip
  assert done.returncode != 0
  assert "batch_size" in done.stderr


def test_missing_photos_are_an_error_without_a_traceback(tmp_path):
  done = subprocess.run(
    [sys.executable, "experiments/run.py", "--config=experiments/configs/demo.py",
     f"--workdir={tmp_path / 'run'}", f"--config.data={tmp_path / 'nothing'}"],
    capture_output=True, text=True, cwd=ROOT,
  )  # fmt: skip
  assert done.returncode == 1
  assert "holds no packed photos" in done.stderr and "Traceback" not in done.stderr

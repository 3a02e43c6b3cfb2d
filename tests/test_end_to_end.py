"""The whole path with the real config of the original, shrunk: photos to named answers.

It differs from the shipped inception_bn_21k in sizes and times only.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.training import configs

ROOT = Path(__file__).parent.parent
# On a machine this small, one narrow step is what there is time for.
SHRUNK = {
  "image_size": "32",
  "batch_size": "16",
  "model.width": "0.125",
  "model.remat": "none",
  "total.steps": "8",
  "schedule.until.steps": "3,5,7",
  "log_every.steps": "4",
  "eval_every.steps": "8",
}
FAST = {"JAX_PLATFORMS": "cpu"}


def call(*command, fail=False):
  """Standard output, or standard error, of a command that must succeed, or fail."""
  done = subprocess.run(
    [sys.executable, *map(str, command)],
    capture_output=True, text=True, cwd=ROOT, env={**os.environ, **FAST}, check=False,
  )  # fmt: skip
  assert bool(done.returncode) == fail, done.stderr[-3000:]
  assert "Traceback" not in done.stderr
  return done.stderr if fail else done.stdout


def im21k(*arguments, **options):
  return call("-m", "im21k", *arguments, **options)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
  """A folder with packed photos and a short run of the real config."""
  work = tmp_path_factory.mktemp("work")
  im21k("pack", "data/sample_photos", work / "photos", "--eval-per-class", 1)
  settings = {**SHRUNK, "data": work / "photos"}
  im21k(
    "train", "inception_bn_21k", "--workdir", work / "run",
    *(f"--config.{key}={value}" for key, value in settings.items()),
  )  # fmt: skip
  return work


@pytest.mark.slow
def test_the_run_is_the_shipped_one_but_for_what_was_set(work):
  document = json.loads((work / "run" / "config.json").read_text())
  shipped = configs.load("inception_bn_21k").resolved().to_dict()
  model = {**shipped["model"], "width": 0.125, "remat": "none"}
  assert document["model"] == model
  for key in ("optimizer", "augment", "loss", "sync_bn", "mean", "seed", "devices"):
    assert document[key] == shipped[key]
  assert document["schedule"]["rates"] == shipped["schedule"]["rates"]
  assert document["total"] == {"steps": 8} and document["schedule"]["until"] == {
    "steps": [3, 5, 7]
  }


@pytest.mark.slow
def test_photos_become_named_predictions(work):
  photo = ROOT / "data/sample_photos/n01443537/categorization_fish25.jpg"
  picture, weights = work / "picture.png", work / "run" / "weights"
  out = json.loads(im21k("predict", weights, photo, "--plot", picture, "--json"))
  (prediction,) = out["predictions"]
  assert len(prediction["top"]) == 5
  assert {"synset", "name", "probability"} == prediction["top"][0].keys()
  assert picture.stat().st_size > 5000
  assert (work / "run" / "learning_curve.png").stat().st_size > 5000


@pytest.mark.slow
def test_accuracy_is_measured_on_every_photo_once(work):
  weights = work / "run" / "weights"
  out = im21k("evaluate", weights, work / "photos", "--split", "train", "--json")
  row = json.loads(out)["rows"][0]
  assert (row["answers"], row["images"]) == ("all 21,841", 139)


@pytest.mark.slow
def test_the_run_and_evaluate_measure_the_same(work):
  """The held-out photos of the last evaluation of the run, scored again."""
  from im21k.evaluation.evaluate import evaluate

  lines = (work / "run" / "metrics.jsonl").read_text().splitlines()
  last = [row for row in map(json.loads, lines) if "eval_loss" in row][-1]
  row = evaluate(work / "run" / "weights", work / "photos")["rows"][0]
  assert row["loss"] == pytest.approx(last["eval_loss"], rel=1e-4)
  for name in ("top_1", "top_5", "top_20"):
    assert row[name] == last[f"eval_{name}"]


@pytest.mark.parametrize("name", configs.names())
def test_every_config_is_a_run_that_can_begin(name):
  """Its keys are right, and its docstring has its command, hardware and score."""
  config = configs.load(name)
  assert config.make_schedule(10_000) and config.resolved()
  text = (ROOT / "experiments" / "configs" / f"{name}.py").read_text(encoding="utf-8")
  assert f"im21k train {name}" in text
  for word in ("Hardware:", "Time:", "Expected:"):
    assert word in text


@pytest.mark.slow
def test_the_script_of_experiments_is_the_same_command(tmp_path):
  where = [f"--workdir={tmp_path / 'run'}", f"--config.data={tmp_path / 'nothing'}"]
  config = "--config=experiments/configs/demo.py"
  script = call("experiments/run.py", config, *where, fail=True).splitlines()[-1]
  command = im21k("train", "demo", *where, fail=True).splitlines()[-1]
  assert script == command and "holds no packed photos" in script


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["demo", "--config.batchsize=3"], "did you mean 'batch_size'"),
    (["demo", "--config.model.dtype=float31"], "config key model: dtype is 'float31'"),
    (["dem"], "there is no config 'dem'; did you mean 'demo'?"),
    (["nothing.py"], "there is no config nothing.py: give a file, or a name"),
    (["demo", "--config.threads"], "--config.threads has no value"),
  ],
)
def test_what_is_wrong_is_one_line(arguments, message, capsys):
  from im21k import cli

  assert cli.main(["train", *arguments]) == 1
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1

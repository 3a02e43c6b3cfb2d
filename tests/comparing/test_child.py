"""Runs in processes of their own: what is refused, trained, and how a run ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.comparing import child, process, sweep
from im21k.models import registry
from im21k.training import log

from .conftest import DOCUMENT
from .tiny_child import tiny

REAL = Path(__file__).with_name("tiny_child.py")
SMALL = {
  "model": {"name": "tiny"}, "image_size": 32, "devices": 2,
  "log_every": {"steps": 1}, "eval_every": {"steps": 2}, "save_every": {"steps": 1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch):
  """The model of the child, here too, so that a config may name it."""
  monkeypatch.setitem(registry._BUILDERS, "tiny", tiny)


@pytest.fixture
def small(packed):
  """The nested keys of a run that takes a second."""
  return {**DOCUMENT, **SMALL, "data": str(packed)}


def test_a_check_names_what_a_run_would_refuse(small, monkeypatch):
  monkeypatch.setattr(child.xla, "set_up", lambda devices: None)
  until = {"name": "stepwise", "rates": [1, 2], "until": {"steps": [9, 9]}}
  sound, *wrong = child.check(
    [
      small,
      {**small, "data": "/nowhere"},
      {**small, "batch_size": 7},
      {**small, "schedule": until},
      {**small, "devices": 99, "batch_size": 99},
    ]
  )
  assert sound["total"] == 4 and {"data", "classes"} <= set(sound["hashes"])
  messages = [one["error"] for one in wrong]
  for message, part in zip(
    messages, ("/nowhere", "batch_size", "schedule", "devices"), strict=True
  ):
    assert part in message, message


def test_an_error_is_one_line_with_its_kind():
  assert child._failure(FloatingPointError("it is\n nan")) == {
    "error": "it is nan", "kind": "FloatingPointError"
  }  # fmt: skip
  assert child._failure(KeyError("a"))["error"] == "unexpected KeyError: 'a'"
  assert child._failure(ValueError())["error"] == "ValueError"


@pytest.mark.slow
def test_a_sweep_of_real_runs(small, tmp_path, monkeypatch):
  """As the loop trains them alone; again, nothing is trained."""
  monkeypatch.setattr(process, "COMMAND", (sys.executable, str(REAL)))
  config = tmp_path / "small.py"
  config.write_text(f"def get_config():\n  return {small!r}\n")
  over = "schedule.rates=[0.1,0.01],[1e30,1e30]"
  result = sweep.sweep(str(config), over=over, seeds=1, workdir=tmp_path / "s")
  fine, diverged = result["runs"]
  assert fine["status"] == "finished" and diverged["status"] == "failed"
  assert diverged["reason"].startswith("the loss is nan between steps")
  assert fine["processor_h"] > 0 and fine["images_per_s"] > 0
  assert (tmp_path / "s" / "sweep.png").is_file()
  folder = Path(fine["workdir"])
  row = log.read_rows(folder / "metrics.jsonl")[-1]
  assert fine["eval_top_5"] == row["eval_top_5"] and row["step"] == 4
  recorded = json.loads((folder / "config.json").read_text())
  assert recorded["seed"] == 3 and recorded["schedule"]["rates"] == [0.1, 0.01]
  times = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("*/*")}
  again = sweep.sweep(str(config), over=over, seeds=1, workdir=tmp_path / "s")
  assert again["runs"] == result["runs"]
  assert {p: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("*/*")} == times


@pytest.mark.slow
def test_a_run_whose_sweep_is_gone_saves_and_stops(small, tmp_path):
  """When the other end of its standard input is closed, by whatever has killed it."""
  request = {"do": "train", "workdir": str(tmp_path / "run")}
  request["config"] = {**small, "total": {"steps": 10**6}}
  with subprocess.Popen(
    [sys.executable, str(REAL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    stderr=subprocess.PIPE, start_new_session=True,
  ) as run:  # fmt: skip
    run.stdin.write(json.dumps(request).encode() + b"\n")
    run.stdin.flush()
    for line in run.stderr:
      if b"checkpoint saved" in line:
        break
    out, err = run.communicate()  # It closes the input first.
  answer = json.loads(out.splitlines()[-1])
  assert answer["stopped_by"] == "SIGTERM" and b"SIGTERM: saving" in err
  assert os.path.isdir(tmp_path / "run" / "checkpoints" / str(answer["step"]))

"""Event files and offline runs: the rows of metrics, each once, after any kill."""

import json
import os
import struct
import sys
from types import SimpleNamespace

import pytest

from im21k.training import log, loop, trackers
from im21k.training.outputs import CannotWrite

TRAIN = {"step": 5, "images": 40, "loss": 2.5, "lr": 0.1, "time": 99.5, "note": None}
EVAL = {"step": 5, "images": 40, "eval_top_1": 0.25, "eval_set": "val", "time": 100.0}


@pytest.fixture
def wandb(monkeypatch):
  """Runs of a stand-in for the package, with what they were given."""
  runs = []

  def init(**given):
    run = SimpleNamespace(given=given, logged=[], finished=False)
    run.log = lambda values, step: run.logged.append((step, values))
    run.finish = lambda: setattr(run, "finished", True)
    folder = f"{given['dir']}/wandb/offline-run-{len(runs)}-{given['id']}"
    os.mkdir(folder)
    runs.append(run)
    return run

  fake = SimpleNamespace(init=init, Settings=lambda **given: given, __spec__="here")
  monkeypatch.setitem(sys.modules, "wandb", fake)
  return runs


def test_numbers_of_a_row_are_grouped_and_the_rest_is_left_out():
  assert trackers.numbers(TRAIN) == {
    "train/images": 40, "train/loss": 2.5, "train/lr": 0.1
  }  # fmt: skip
  assert trackers.numbers(EVAL) == {"eval/eval_top_1": 0.25}


def test_a_missing_library_is_named_with_the_command_before_anything_starts(
  config, tmp_path, monkeypatch
):
  monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
  for name, library in (("tensorboard", "tensorboardX"), ("wandb", "wandb")):
    with pytest.raises(
      ValueError, match=rf"needs {library}: pip install 'im21k\[{name}\]'"
    ):
      loop.train(config.changed({"trackers": (name,)}), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_an_offline_run_has_the_same_id_when_it_is_resumed(wandb, tmp_path):
  """And the rows of before, in place of what was written of them."""
  for rows in ([], [TRAIN, EVAL]):
    (opened,) = trackers.open_all(["wandb"], tmp_path / "run", {"seed": 3}, rows)
    opened.write({**TRAIN, "step": 10})
    opened.close()
  first, second = wandb
  assert first.given["id"] == second.given["id"] and second.finished
  assert second.given["config"] == {"seed": 3} and second.given["name"] == "run"
  assert second.given["settings"]["mode"] == "offline"
  assert [step for step, _ in first.logged] == [10]
  assert [step for step, _ in second.logged] == [5, 5, 10]
  assert second.logged[1][1] == {"eval/eval_top_1": 0.25, "_timestamp": 100.0}
  left = [one.name for one in (tmp_path / "run" / "wandb").glob("offline-run-*")]
  assert left == [f"offline-run-1-{first.given['id']}"]


def test_a_library_that_refuses_is_one_line(wandb, tmp_path, monkeypatch):
  def init(**_):
    raise RuntimeError("no\nway")

  monkeypatch.setattr(sys.modules["wandb"], "init", init)
  with pytest.raises(CannotWrite, match=r"wandb: wandb cannot start: no$"):
    trackers.open_all(["wandb"], tmp_path, {}, [])


def test_each_row_of_a_resumed_run_is_tracked_once(wandb, config, tmp_path):
  monitored = config.changed({"trackers": ("wandb",)})
  loop.train(monitored.changed({"total.steps": 6}), tmp_path)
  loop.train(monitored, tmp_path)
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  assert all(run.finished for run in wandb)
  assert [step for step, _ in wandb[-1].logged] == [row["step"] for row in rows]
  assert wandb[-1].given["config"]["total"] == {"steps": 12}


def events(folder):
  """Step, time and values of the events in the event files of a folder."""
  event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
  found = []
  for path in sorted(folder.iterdir()):
    data, at = path.read_bytes(), 0
    while at < len(data):
      (size,) = struct.unpack("<Q", data[at : at + 8])
      event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
      at += 16 + size
      if event.HasField("summary"):
        values = {v.tag: v.simple_value for v in event.summary.value}
        found.append((event.step, event.wall_time, values))
  return found


def test_an_event_file_has_the_rows_of_before_and_each_at_once(tmp_path):
  pytest.importorskip("tensorboardX")
  folder = tmp_path / "tensorboard"
  folder.mkdir()
  for rows in ([], [TRAIN, EVAL]):
    (folder / "events.out.tfevents.1.host.im21k").write_bytes(b"of before")
    (opened,) = trackers.open_all(["tensorboard"], tmp_path, {}, rows)
    opened.write({**TRAIN, "step": 10})
    assert len([*folder.glob("*.im21k")]) == 1, "what was written before is there, too"
    assert len(events(folder)) == len(rows) + 1, "it is not there before the close"
    opened.close()
  (folder / "events.out.tfevents.1.other").write_bytes(b"")
  assert events(folder) == [
    (5, 99.5, {"train/images": 40, "train/loss": 2.5, "train/lr": pytest.approx(0.1)}),
    (5, 100.0, {"eval/eval_top_1": 0.25}),
    (10, 99.5, {"train/images": 40, "train/loss": 2.5, "train/lr": pytest.approx(0.1)}),
  ]
  trackers.open_all(["tensorboard"], tmp_path, {}, [])[0].close()
  assert (folder / "events.out.tfevents.1.other").exists(), "it is somebody else's"


def test_the_event_file_of_a_run_is_its_metrics(config, tmp_path):
  pytest.importorskip("tensorboardX")
  loop.train(config.changed({"trackers": ("tensorboard",)}), tmp_path)
  rows = [
    json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
  ]
  found = events(tmp_path / "tensorboard")
  assert [step for step, *_ in found] == [row["step"] for row in rows]
  for (_, when, values), row in zip(found, rows, strict=True):
    assert when == row["time"] and values == pytest.approx(trackers.numbers(row))

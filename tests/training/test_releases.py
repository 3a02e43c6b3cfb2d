"""`best/` and `latest/`: whole at any time, and which weights they hold."""

import errno
import json
import os
import shutil

import pytest

from im21k import weights
from im21k.evaluation import results
from im21k.training import log, loop, releases
from im21k.training.outputs import CannotWrite


def test_the_newest_of_equal_scores_is_the_best_and_step_0_does_not_count():
  rows = [
    {"step": 0, "eval_top_1": 0.9},
    {"step": 1, "loss": 1.0},
    {"step": 2, "eval_top_1": 0.25},
  ]
  assert releases.is_best({"top_1": 0.25}, rows)
  assert not releases.is_best({"top_1": 0.2}, rows)
  assert releases.is_best({"top_1": 0.0}, rows[:2])


@pytest.mark.parametrize("fails", [None, "rename", "save"])
def test_a_kill_leaves_the_weights_of_before_or_the_new_ones(
  tiny_weights, tmp_path, monkeypatch, fails
):
  """Rows of `im21k evaluate` stay; a calibration, which is of other arrays, goes."""
  path = tmp_path / "best"
  releases.replace(path, tiny_weights)
  results.add_rows(path / results.CSV, [{"date": "1", "answers": "all"}])
  (path / "calibration.json").write_text("{}")

  def fail(*_):
    raise KeyboardInterrupt

  if fails:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      if fails == "rename":
        patch.setattr(os, "rename", fail)
      else:
        patch.setattr(weights.Weights, "save", fail)
      releases.replace(path, tiny_weights)
    assert weights.load(path) and (path / "calibration.json").exists()
  releases.replace(path, tiny_weights)
  assert weights.load(path) and len(results.read_rows(path / results.CSV)) == 1
  assert not (path / "calibration.json").exists()
  assert [one.name for one in tmp_path.iterdir()] == ["best"]


def test_rows_survive_a_kill_between_the_folder_of_before_and_the_new_one(
  tiny_weights, tmp_path, monkeypatch
):
  path = tmp_path / "best"
  releases.replace(path, tiny_weights)
  results.add_rows(path / results.CSV, [{"date": "1", "answers": "all"}])
  rename = os.rename

  def once(source, target):
    if target == path:
      raise KeyboardInterrupt
    rename(source, target)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(os, "rename", once)
    releases.replace(path, tiny_weights)
  assert not path.exists()
  releases.replace(path, tiny_weights)
  assert len(results.read_rows(path / results.CSV)) == 1


def test_rows_move_on_from_a_folder_that_is_removed(tiny_weights, tmp_path):
  for name in ("latest", "weights"):
    releases.replace(tmp_path / name, tiny_weights)
    row = {"date": name, "answers": "all"}
    results.add_rows(tmp_path / name / results.CSV, [row])
  releases.merge(tmp_path / "latest", tmp_path / "weights")
  releases.merge(tmp_path / "none", tmp_path / "weights")
  assert [one.name for one in tmp_path.iterdir()] == ["weights"]
  rows = results.read_rows(tmp_path / "weights" / results.CSV)
  assert [row["date"] for row in rows] == ["weights", "latest"]


def test_a_file_of_scores_that_is_damaged_stays_and_ends_no_run(tiny_weights, tmp_path):
  path = tmp_path / "latest"
  releases.replace(path, tiny_weights)
  (path / results.CSV).write_bytes(b"date,answers\n\xff")
  releases.replace(path, tiny_weights)
  releases.merge(path, tmp_path / "weights")
  assert (path / results.CSV).read_bytes() == b"date,answers\n\xff"


def test_a_full_disk_leaves_no_part_behind(tiny_weights, tmp_path, monkeypatch):
  def fill(self, folder):
    folder.mkdir()
    (folder / weights.ARRAYS).write_bytes(b"part")
    raise OSError(errno.ENOSPC, "no space")

  releases.replace(tmp_path / "best", tiny_weights)
  monkeypatch.setattr(weights.Weights, "save", fill)
  with pytest.raises(CannotWrite, match="best cannot be written: no space left"):
    releases.replace(tmp_path / "best", tiny_weights)
  assert [one.name for one in tmp_path.iterdir()] == ["best"]
  assert weights.load(tmp_path / "best")


def test_a_place_that_cannot_be_written_is_named(tiny_weights, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(
    CannotWrite, match=r"file/best cannot be written: not a directory"
  ):
    releases.replace(tmp_path / "file" / "best", tiny_weights)


def test_a_run_has_weights_before_its_end(config, tmp_path, monkeypatch):
  """Killed after its second checkpoint, at steps 4 and 6; evaluated at 6."""
  seen = {}

  def save(self, step, *_):
    seen[step] = [weights.step_of(tmp_path / name) for name in ("best", "latest")]
    if step == 6:
      raise InterruptedError

  with monkeypatch.context() as patch, pytest.raises(InterruptedError):
    patch.setattr(loop.Checkpoints, "save", save)
    loop.train(config.changed({"total.steps": 8}), tmp_path)
  assert seen == {4: [None, 4], 6: [6, 6]}
  assert weights.find(tmp_path) == tmp_path / "best"
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  scores = weights.load(tmp_path).scores
  assert scores["eval_top_1"] == rows[-1]["eval_top_1"]
  without = config.changed({"total.steps": 8, "keep_best": 0})
  shutil.rmtree(tmp_path / "best")
  loop.train(without, tmp_path)
  assert not (tmp_path / "best").exists() and not (tmp_path / "latest").exists()
  document = json.loads((tmp_path / "weights" / "model.json").read_text())
  assert document["config"]["step"] == 8

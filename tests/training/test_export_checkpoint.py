"""Weights of a checkpoint: those that the run itself exports, bit for bit."""

import json
import shutil

import jax
import numpy as np
import pytest

from im21k import weights
from im21k.training import loop
from im21k.training.export_checkpoint import export_checkpoint


def arrays(folder):
  return jax.tree.leaves(weights.load(folder).variables)


def test_a_warm_up_in_epochs_fits_a_total_in_steps(config, tmp_path):
  """However many photos there are: an export does not look."""
  warm = {"schedule": {"name": "cosine", "peak": 0.1, "warmup": {"epochs": 0.2}}}
  loop.train(config.changed({"total.steps": 4, **warm}), tmp_path / "run")
  export_checkpoint(tmp_path / "run", tmp_path / "out")
  pairs = zip(arrays(tmp_path / "run"), arrays(tmp_path / "out"), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)


def test_every_checkpoint_of_a_run_can_be_exported(config, tmp_path):
  """After the data is gone, on one device instead of four."""
  run = tmp_path / "run"
  loop.train(config.changed({"total.steps": 4, "save_every.steps": 2}), run)
  before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
  document = json.loads((run / "config.json").read_text())
  document["data"] = "/gone"
  (run / "config.json").write_text(json.dumps(document))
  result = export_checkpoint(run, tmp_path / "latest")
  assert result["step"] == 4 and result["eval_top_1"] is not None
  pairs = zip(arrays(run), arrays(tmp_path / "latest"), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)
  ours, theirs = weights.load(tmp_path / "latest"), weights.load(run / "weights")
  assert ours.scores == theirs.scores and ours.classes == theirs.classes
  assert ours.input == theirs.input
  assert ours.model_fields == {
    **theirs.model_fields,
    "dtype": "float32",
    "bn_momentum": 0.9,
  }
  assert {**ours.config, "data": 0} == {**theirs.config, "data": 0}
  assert export_checkpoint(run, tmp_path / "best", step="best")["step"] == 4
  early = export_checkpoint(run, tmp_path / "early", step="2")
  assert early["step"] == 2 and weights.load(tmp_path / "early").config["step"] == 2
  assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == {
    **before, run / "config.json": (run / "config.json").stat().st_mtime_ns
  }  # fmt: skip
  for step in ("3", "-1", "02", "newest", ""):
    with pytest.raises(ValueError, match=r"step is .*are those of 2, 4; latest and"):
      export_checkpoint(run, tmp_path / "none", step=step)
  for inside in ("weights", "weights/a", "checkpoints/4"):
    with pytest.raises(ValueError, match="where the run writes"):
      export_checkpoint(run, run / inside)
  for path in (run / "checkpoints" / "4" / "state" / "d").iterdir():
    path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match="checkpoints/4 is damaged"):
    export_checkpoint(run, tmp_path / "none")
  shutil.rmtree(run / "checkpoints")
  with pytest.raises(FileNotFoundError, match="no complete checkpoint yet"):
    export_checkpoint(run, tmp_path / "none")
  assert not (tmp_path / "none").exists()


def test_a_folder_without_a_run_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no run"):
    export_checkpoint(tmp_path, tmp_path / "out")

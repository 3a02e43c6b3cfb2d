"""The key `recalibrate`: what a run exports is what the command of that name makes."""

import jax
import numpy as np
import pytest

from im21k import weights
from im21k.evaluation.recalibrate import recalibrate
from im21k.training import log, loop, recalibration, releases
from im21k.training.export_checkpoint import export_checkpoint
from im21k.training.setup import prepare
from im21k.training.workdir import Workdir

TIMES = {"time", "train_secs", "eval_secs", "images_per_s", "data_wait_share"}
TIMES |= {"peak_host_mib"}


def variables(folder):
  return weights.load(folder).variables


def rows_of(run):
  rows = log.read_rows(run / "metrics.jsonl")
  return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def equal(ours, theirs):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.slow
def test_a_run_exports_what_the_command_makes(config, packed, tmp_path, capsys):
  """Of the average, where there is one; with the scores of that."""
  run = tmp_path / "run"
  changes = {"average.name": "ema", "recalibrate": 17, "total.steps": 8}
  changed = config.changed(changes)
  result = loop.train(changed, run)
  said = capsys.readouterr().err
  assert "recalibrating BatchNorm on 16 training photos …" in said
  assert "recalibrated on 16 training photos\n" in said
  export_checkpoint(run, tmp_path / "before")
  options = {"images": 17, "batch_size": 8, "devices": 4}
  recalibrate(tmp_path / "before", packed, tmp_path / "after", **options)
  found = variables(run / "weights")
  equal(found, variables(tmp_path / "after"))
  before = variables(tmp_path / "before")["batch_stats"]
  assert all(
    not np.array_equal(a, b)
    for a, b in zip(
      jax.tree.leaves(found["batch_stats"]), jax.tree.leaves(before), strict=True
    )
  )
  rows = rows_of(run)
  assert [r["step"] for r in rows if "eval_top_1" in r] == [0, 6, 8, 8]
  last = rows[-1]
  assert last["recalibrated"] == 16 and "recalibrated" not in rows[-2]
  assert last["eval_loss"] != rows[-2]["eval_loss"]
  scorer = prepare(changed).eval_sets[0].scorer
  assert last["eval_loss"] == scorer(found).rows()[0]["loss"]
  scores = weights.load(run / "weights").scores
  assert scores["eval_top_1"] == last["eval_top_1"] == result["eval_top_1"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["estimate", "row", "export"])
def test_killed_while_it_recalibrates_it_ends_in_the_same(
  config, tmp_path, monkeypatch, where
):
  """Before the statistics, between these and their row, and before the export."""
  changed = config.changed({"recalibrate": 20, "total.steps": 6})
  loop.train(changed, tmp_path / "unbroken")

  def fail(*_, **__):
    raise InterruptedError

  targets = {
    "estimate": (recalibration.batch_statistics, "estimate", fail),
    "row": (recalibration, "_is_scored", fail),
    "export": (Workdir, "export", fail),
  }
  with monkeypatch.context() as patch, pytest.raises(InterruptedError):
    patch.setattr(*targets[where])
    loop.train(changed, tmp_path / "broken")
  result = loop.train(changed, tmp_path / "broken")
  assert result["finished"]
  names = ("unbroken", "broken")
  equal(*(variables(tmp_path / name / "weights") for name in names))
  first, second = (rows_of(tmp_path / name) for name in names)
  assert first == second
  assert sum("recalibrated" in row for row in second) == 1


@pytest.mark.slow
def test_four_devices_and_one_have_the_same_statistics(config, tmp_path):
  """With statistics over all devices, and where each has a part of the head."""
  base = {"sync_bn": True, "recalibrate": 16, "total.steps": 2}
  kinds = {
    "four": {},
    "split": {"split_head": True},
    "one": {"devices": 1},
  }
  for name, more in kinds.items():
    loop.train(config.changed({**base, **more}), tmp_path / name)
  four, split, one = (variables(tmp_path / name / "weights") for name in kinds)
  for other in (split, one):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), four, other
    )


def test_a_longer_run_does_not_compare_with_recalibrated_scores():
  rows = [{"step": 4, "eval_top_1": 0.5}, {"step": 4, "eval_top_1": 0.9}]
  rows[1][recalibration.ROW] = 16
  assert releases.is_best({"top_1": 0.6}, rows)
  more = [*rows, {"step": 6, "eval_top_1": 0.7}]
  assert not releases.is_best({"top_1": 0.6}, more)


def test_what_cannot_be_recalibrated_is_refused_before_the_run(config):
  with pytest.raises(ValueError, match=r"recalibrate is 7 of .* no whole batch of 8"):
    prepare(config.changed({"recalibrate": 7}))
  frozen = {"init.weights": "w", "init.trunk.name": "frozen", "recalibrate": 8}
  with pytest.raises(ValueError, match="a frozen trunk keeps its BatchNorm statistics"):
    config.changed(frozen)
  with pytest.raises(ValueError, match="recalibrate is 0, but must be 1 or more"):
    config.changed({"recalibrate": 0})

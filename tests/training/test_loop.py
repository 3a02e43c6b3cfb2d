"""Whole runs with a tiny model: what they write, and that they can be stopped."""

import dataclasses
import gzip
import json
import os
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from im21k import weights
from im21k.loading import train as loading
from im21k.training import log, loop

CONFIG = {
  "model": {"name": "tiny"},
  "total": {"steps": 12},
  "schedule": {"name": "stepwise", "rates": [0.1, 0.01], "until": {"steps": [8]}},
  "batch_size": 8,
  "image_size": 32,
  "log_every": {"steps": 5},
  "eval_every": {"steps": 6},
  "save_every": {"steps": 4},
  "devices": 4,
}


@pytest.fixture
def config(packed):
  return loop.Config.from_dict({**CONFIG, "data": str(packed)})


def arrays(folder):
  loaded = weights.load(folder / "weights")
  return jax.tree.leaves(loaded.variables)


def test_a_run_leaves_all_that_is_needed(config, tmp_path):
  result = loop.train(config, tmp_path)
  assert result["finished"] and result["step"] == 12
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  train = [row for row in rows if "loss" in row]
  assert [row["step"] for row in train] == [4, 5, 6, 8, 10, 12]
  assert [row["step"] for row in rows if "eval_top_1" in row] == [6, 12]
  assert [row["lr"] for row in train] == pytest.approx([0.1] * 4 + [0.01] * 2)
  for key in ("images", "epoch", "train_top_1", "images_per_s", "data_wait_share"):
    assert all(row[key] is not None for row in train), key
  assert train[-1]["loss"] < train[0]["loss"]
  assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 8
  about = json.loads((tmp_path / "environment.json").read_text())
  assert about["devices"] == "4 x cpu" and about["jax"] == jax.__version__
  assert "head/kernel\t(8, 21841)" in (tmp_path / "parameters.tsv").read_text()
  assert (tmp_path / "learning_curve.png").stat().st_size > 5000
  loaded = weights.load(tmp_path / "weights")
  assert loaded.input == weights.Input(32, 37, 117.0, 1.0)
  assert loaded.config["total"] == {"steps": 12}
  assert loaded.scores["train_top_1"] == result["train_top_1"]


def test_a_profile_is_a_trace_for_xprof_and_perfetto(config, tmp_path):
  loop.train(config, tmp_path, profile=True)
  (trace,) = (tmp_path / "profile").rglob("perfetto_trace.json.gz")
  assert b"traceEvents" in gzip.decompress(trace.read_bytes())
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_a_split_head_changes_no_file(config, tmp_path):
  """Stopped with a split head, it goes on with a whole one, and ends with the same."""
  loop.train(config, tmp_path / "whole")
  split = dataclasses.replace(config, split_head=True)
  loop.train(dataclasses.replace(split, total={"steps": 6}), tmp_path / "split")
  loop.train(config, tmp_path / "split")
  loop.train(split, tmp_path / "all split")
  for folder in ("split", "all split"):
    pairs = zip(arrays(tmp_path / "whole"), arrays(tmp_path / folder), strict=True)
    for a, b in pairs:
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_stopped_and_started_again_it_ends_in_the_same_bits(
  config, tmp_path, monkeypatch
):
  """SIGTERM after steps that are no multiples of anything."""
  loop.train(config, tmp_path / "unbroken")
  original = loop._Run.take_step
  stops = iter([1, 3, 7, 10])
  at = next(stops)

  def take_step(run):
    nonlocal at
    original(run)
    if run.step == at:
      os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(loop._Run, "take_step", take_step)
  results = []
  while not results or not results[-1]["finished"]:
    results.append(loop.train(config, tmp_path / "broken"))
    at = next(stops, None)
  assert [result["step"] for result in results] == [1, 3, 7, 10, 12]
  pairs = zip(arrays(tmp_path / "unbroken"), arrays(tmp_path / "broken"), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)
  last = [
    log.read_rows(tmp_path / name / "metrics.jsonl")[-1]
    for name in ("unbroken", "broken")
  ]
  assert last[0] == last[1]


def test_another_number_of_devices_may_go_on(config, tmp_path):
  first = dataclasses.replace(config, total={"steps": 4})
  loop.train(first, tmp_path)
  result = loop.train(dataclasses.replace(config, devices=2), tmp_path)
  assert result["step"] == 12
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  assert sorted({row["step"] for row in rows}) == [4, 5, 6, 8, 10, 12]


def test_other_settings_do_not_go_on_in_the_same_folder(config, tmp_path):
  loop.train(dataclasses.replace(config, total={"steps": 1}), tmp_path)
  with pytest.raises(ValueError, match="other settings: batch_size was 8, is 16"):
    loop.train(dataclasses.replace(config, batch_size=16), tmp_path)


def test_latest_and_best_checkpoints_are_kept(config, tmp_path, monkeypatch):
  scores = iter([0.3, 0.9, 0.2, 0.1, 0.1, 0.1])
  monkeypatch.setattr(
    loop.score.Scorer,
    "__call__",
    lambda *_: SimpleNamespace(
      rows=lambda: [
        {"images": 1, "loss": 0, "top_1": next(scores), "top_5": 1, "top_20": 1}
      ]
    ),
  )
  loop.train(
    dataclasses.replace(config, eval_every={"steps": 2}, save_every={"steps": 2}),
    tmp_path,
  )
  kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
  assert kept == [4, 10, 12]


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_steps(config, tmp_path):
  wild = dataclasses.replace(
    config,
    schedule={**config.schedule, "rates": [1e30, 1e30]},
    eval_every={"epochs": 9},
  )
  with pytest.raises(
    FloatingPointError, match=r"between steps 1 and 4; the last check"
  ):
    loop.train(wild, tmp_path)


def test_without_held_out_photos_nothing_is_evaluated(sample_photos, config, tmp_path):
  from im21k.packing.pack import pack

  pack(sample_photos, tmp_path / "photos", shards=2, workers=1)
  whole = dataclasses.replace(config, data=str(tmp_path / "photos"))
  result = loop.train(dataclasses.replace(whole, total={"steps": 2}), tmp_path / "run")
  assert result["finished"] and result["eval_top_1"] is None


def test_unknown_config_key_offers_the_nearest():
  with pytest.raises(ValueError, match="'batchsize'; did you mean 'batch_size'"):
    loop.Config.from_dict({**CONFIG, "data": "x", "batchsize": 3})


def test_a_config_that_lacks_keys_names_them():
  with pytest.raises(ValueError, match="lacks data, total"):
    loop.Config.from_dict({"model": {}, "schedule": {}, "batch_size": 8})


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"batch_size": 6}, "batch_size 6 is not divisible by the 4 devices"),
    ({"schedule": {"name": "cosin"}}, "did you mean 'cosine'"),
    ({"augment": {"crop": "random"}}, "crop is 'random'"),
    ({"model": {"name": "inception_bn"}}, "did you mean"),
    ({"total": {"epochs": 1, "steps": 2}}, "exactly one"),
    (
      {"classes": "ilsvrc2012"},
      "'ilsvrc2012'.*'imagenet21k'|'imagenet21k'.*'ilsvrc2012'",
    ),
  ],
)
def test_wrong_settings_are_named(config, tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    loop.train(dataclasses.replace(config, **change), tmp_path)


def test_threads_do_not_change_what_is_learnt(config, tmp_path, monkeypatch):
  brief = dataclasses.replace(config, total={"steps": 3})
  for threads in (1, 5):
    loop.train(dataclasses.replace(brief, threads=threads), tmp_path / str(threads))
  for a, b in zip(arrays(tmp_path / "1"), arrays(tmp_path / "5"), strict=True):
    np.testing.assert_array_equal(a, b)


def test_loader_position_is_what_is_saved(packed):
  batches = loading.TrainLoader(packed, batch_size=8, image_size=32).iter_from(0)
  next(batches)
  next(batches)
  assert batches.position == 16

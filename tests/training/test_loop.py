"""Whole runs with a tiny model: what they write, and that they can be stopped."""

import gzip
import itertools
import json
import logging
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from im21k import cli, lock, weights
from im21k.evaluation import evaluate, score
from im21k.loading import train as loading
from im21k.training import log, loop
from im21k.training import run as command
from im21k.training.export_checkpoint import export_checkpoint


def arrays(folder):
  loaded = weights.load(folder / "weights")
  return jax.tree.leaves(loaded.variables)


@pytest.mark.slow
def test_a_run_leaves_all_that_is_needed(config, tmp_path, pictures):
  result = loop.train(config, tmp_path)
  assert result["finished"] and result["step"] == 12
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  train = [row for row in rows if "loss" in row]
  assert [row["step"] for row in train] == [4, 5, 6, 8, 10, 12]
  evals = [row for row in rows if "eval_top_1" in row]
  assert [row["step"] for row in evals] == [0, 6, 12]
  assert all((row["eval_count"], row["eval_bad"]) == (24, 0) for row in evals)
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


@pytest.mark.slow
def test_evaluations_have_a_size_of_their_own_that_the_weights_take(config, tmp_path):
  """The parameters are those of a run without; the scores those of the weights."""
  loop.train(config, tmp_path / "without")
  larger = config.changed({"eval_size": 48, "eval_short_side": 50})
  loop.train(larger, tmp_path / "with")
  pairs = zip(arrays(tmp_path / "without"), arrays(tmp_path / "with"), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)
  without, rows = (
    log.read_rows(tmp_path / name / "metrics.jsonl") for name in ("without", "with")
  )
  assert [r["loss"] for r in rows if "loss" in r] == [
    r["loss"] for r in without if "loss" in r
  ]
  assert rows[-1]["eval_loss"] != without[-1]["eval_loss"]
  export_checkpoint(tmp_path / "with", tmp_path / "out")
  for folder in (tmp_path / "with" / "weights", tmp_path / "out"):
    assert weights.load(folder).input == weights.Input(48, 50, 117.0, 1.0)
  found = evaluate.evaluate(tmp_path / "with", Path(config.data), split="eval")
  scored = found["rows"][0]
  assert scored["top_20"] == pytest.approx(rows[-1]["eval_top_20"])
  assert scored["loss"] == pytest.approx(rows[-1]["eval_loss"], rel=1e-4)


@pytest.mark.slow
def test_a_profile_is_a_trace_for_xprof_and_perfetto(config, tmp_path):
  loop.train(config, tmp_path, profile=True)
  (trace,) = (tmp_path / "profile").rglob("perfetto_trace.json.gz")
  assert b"traceEvents" in gzip.decompress(trace.read_bytes())
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.slow
def test_a_split_head_changes_no_file(config, tmp_path):
  """Stopped with a split head, it goes on with a whole one, and ends with the same."""
  loop.train(config, tmp_path / "whole")
  split = config.changed({"split_head": True})
  loop.train(split.changed({"total.steps": 6}), tmp_path / "split")
  loop.train(config, tmp_path / "split")
  loop.train(split, tmp_path / "all split")
  for folder in ("split", "all split"):
    pairs = zip(arrays(tmp_path / "whole"), arrays(tmp_path / folder), strict=True)
    for a, b in pairs:
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


MUON = {
  "optimizer.name": "muon", "optimizer.groups.head_rate": 0.1,
  "accumulate": 2, "devices": 2, "mix.mixup": 0.5,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, MUON], ids=["sgd", "muon in parts"])
def test_stopped_and_started_again_it_ends_in_the_same_bits(
  config, tmp_path, monkeypatch, settings
):
  """SIGTERM after steps that are no multiples of anything."""
  config = config.changed(settings)
  loop.train(config, tmp_path / "unbroken")
  original = log.StepLog.add
  stops = iter([1, 3, 7, 10])
  at, step = next(stops), 0

  def add(self, metrics):
    nonlocal step
    step += 1
    if step == at:
      os.kill(os.getpid(), signal.SIGTERM)
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  results = []
  while not results or not results[-1]["finished"]:
    results.append(loop.train(config, tmp_path / "broken"))
    at = next(stops, None)
  assert [result["step"] for result in results] == [1, 3, 7, 10, 12]
  stops = [result.get("stopped_by") for result in results]
  assert stops == ["SIGTERM"] * 4 + [None]
  pairs = zip(arrays(tmp_path / "unbroken"), arrays(tmp_path / "broken"), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)
  last = [
    log.read_rows(tmp_path / name / "metrics.jsonl")[-1]
    for name in ("unbroken", "broken")
  ]
  times = ("time", "train_secs", "eval_secs")
  first, second = ({k: v for k, v in r.items() if k not in times} for r in last)
  assert first == second
  export_checkpoint(tmp_path / "broken", tmp_path / "exported")
  exported = jax.tree.leaves(weights.load(tmp_path / "exported").variables)
  for a, b in zip(arrays(tmp_path / "unbroken"), exported, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_with_a_damaged_checkpoint_it_ends_in_the_same_bits(config, tmp_path, capsys):
  """It goes on from the one before, and rows of metrics past that are dropped."""
  loop.train(config, tmp_path / "unbroken")
  loop.train(config.changed({"total.steps": 8}), tmp_path / "broken")
  for path in (tmp_path / "broken" / "checkpoints" / "8" / "state" / "d").iterdir():
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
  capsys.readouterr()
  loop.train(config, tmp_path / "broken")
  said = capsys.readouterr().err
  assert "renamed to damaged-8; the run continues at step 6\n" in said
  pairs = zip(arrays(tmp_path / "unbroken"), arrays(tmp_path / "broken"), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)
  first, second = (
    [(row["step"], row.get("loss")) for row in log.read_rows(folder / "metrics.jsonl")]
    for folder in (tmp_path / "unbroken", tmp_path / "broken")
  )
  assert first == second


def test_a_folder_in_use_is_refused_and_untouched(config, tmp_path):
  with lock.hold(tmp_path / "run", "training"):
    before = files_of(tmp_path / "run")
    with pytest.raises(lock.Held, match="run is in use \\(training by process"):
      loop.train(config, tmp_path / "run")
    assert files_of(tmp_path / "run") == before


def test_a_checkpoint_of_another_run_is_refused(config, tmp_path):
  """Copied into a folder whose config.json is that of this run."""
  other = config.changed({"seed": 1, "total.steps": 2, "eval_every.epochs": 9})
  loop.train(other, tmp_path / "other")
  shutil.copytree(tmp_path / "other" / "checkpoints", tmp_path / "run" / "checkpoints")
  with pytest.raises(ValueError, match=r"checkpoints/2 holds .* seed was 1, is 0\."):
    loop.train(config, tmp_path / "run")


@pytest.mark.slow
def test_another_number_of_devices_may_go_on(config, tmp_path):
  first = config.changed({"total.steps": 4})
  loop.train(first, tmp_path)
  result = loop.train(config.changed({"devices": 2}), tmp_path)
  assert result["step"] == 12
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  assert sorted({row["step"] for row in rows}) == [0, 4, 5, 6, 8, 10, 12]


def files_of(folder):
  """Bytes and time of change of every file, and time of change of every folder."""
  return {
    str(path.relative_to(folder)): (
      path.read_bytes() if path.is_file() else None,
      path.stat().st_mtime_ns,
    )
    for path in [folder, *sorted(folder.rglob("*"))]
  }


@pytest.mark.slow
def test_a_finished_run_that_is_started_again_changes_nothing(config, tmp_path, capsys):
  """Neither with the same settings, nor with a schedule that was never trained."""
  result = loop.train(config, tmp_path)
  before = files_of(tmp_path)
  other = {"schedule.rates": [0.5, 0.2], "devices": 2, "save_every.steps": 1}
  for again in (config, config.changed(other), config.changed({"total.steps": 4})):
    assert loop.train(again, tmp_path)["finished"]
    assert files_of(tmp_path) == before
  assert loop.train(config, tmp_path) == result


@pytest.mark.slow
def test_a_finished_run_goes_on_when_it_is_lengthened(config, tmp_path):
  loop.train(config.changed({"total.steps": 4}), tmp_path)
  assert weights.load(tmp_path / "weights").config["step"] == 4
  longer = config.changed({"total.steps": 8, "schedule.rates": [0.1, 0.05]})
  assert loop.train(longer, tmp_path)["step"] == 8
  released = weights.load(tmp_path / "weights").config
  run = json.loads((tmp_path / "config.json").read_text())
  assert released["step"] == 8 and released["history"] == run["history"]
  assert run["history"] == [
    [4, "total", {"steps": 4}, {"steps": 8}],
    [4, "schedule.rates", [0.1, 0.01], [0.1, 0.05]],
  ]


@pytest.mark.slow
def test_a_run_killed_before_its_export_exports(config, tmp_path):
  """Also where the weights of a shorter run are there already."""
  loop.train(config.changed({"total.steps": 4}), tmp_path)
  brief = config.changed({"total.steps": 5})
  loop.train(brief, tmp_path)
  wanted = (tmp_path / "weights" / "weights.safetensors").read_bytes()
  loop.train(config.changed({"total.steps": 4}), tmp_path / "other")
  shutil.rmtree(tmp_path / "weights")
  shutil.copytree(tmp_path / "other" / "weights", tmp_path / "weights")
  loop.train(brief, tmp_path)
  assert (tmp_path / "weights" / "weights.safetensors").read_bytes() == wanted


@pytest.mark.slow
def test_killed_before_the_first_checkpoint_it_starts_anew(
  config, tmp_path, monkeypatch
):
  """With one row of the evaluation at step 0."""

  def fail(*_):
    raise InterruptedError

  with monkeypatch.context() as patch:
    patch.setattr(log.StepLog, "add", fail)
    with pytest.raises(InterruptedError):
      loop.train(config, tmp_path)
  assert [row["step"] for row in log.read_rows(tmp_path / "metrics.jsonl")] == [0]
  loop.train(config.changed({"total.steps": 2}), tmp_path)
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  assert [row["step"] for row in rows] == [0, 2, 2]


@pytest.mark.slow
def test_a_resumed_run_does_not_evaluate_the_same_step_twice(config, tmp_path):
  loop.train(config.changed({"total.steps": 6}), tmp_path)
  loop.train(config.changed({"total.steps": 7}), tmp_path)
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  assert [row["step"] for row in rows if "eval_top_1" in row] == [0, 6, 7]


def test_the_clock_and_throughput_of_rows_leave_evaluation_and_saving_out(
  config, tmp_path, monkeypatch
):
  """By a clock that only moves in pauses and steps, a second at a time."""
  seconds, counts = 0.0, itertools.count()
  original = log.StepLog.add

  def add(self, metrics):
    nonlocal seconds
    seconds += next(counts) > 0  # The first step is in the pause of the compilation.
    return original(self, metrics)

  def save(*_):
    nonlocal seconds
    seconds += 100

  monkeypatch.setattr(log.StepLog, "add", add)
  monkeypatch.setattr(loop.Checkpoints, "save", save)
  monkeypatch.setattr(
    loop, "Clock", lambda before=None: log.Clock(before, lambda: seconds)
  )
  loop.train(config.changed({"log_every.steps": 2}), tmp_path)
  rows = [row for row in log.read_rows(tmp_path / "metrics.jsonl") if "loss" in row]
  assert [row["images_per_s"] for row in rows] == [8.0] * 6


@pytest.mark.slow
def test_latest_and_best_checkpoints_are_kept(config, tmp_path, monkeypatch):
  scores = iter([0.5, 0.3, 0.9, 0.2, 0.1, 0.1, 0.1])  # The first at step 0.
  monkeypatch.setattr(
    score.Scorer,
    "__call__",
    lambda *_: SimpleNamespace(
      rows=lambda: [
        {
          "images": 1,
          "loss": 0,
          "top_1": next(scores),
          "top_5": 1,
          "top_20": 1,
          "bad": 0,
          "unknown": 0,
        }
      ]
    ),
  )
  often = {"eval_every.steps": 2, "save_every.steps": 2}
  loop.train(config.changed(often), tmp_path)
  kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
  assert kept - {"superseded.json"} == {"4", "10", "12"}
  assert weights.step_of(tmp_path / "best") == 4


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_steps(config, tmp_path):
  wild = config.changed({"schedule.rates": [1e30, 1e30], "eval_every.epochs": 9})
  with pytest.raises(
    FloatingPointError, match=r"between steps 1 and 4; the last check"
  ):
    loop.train(wild, tmp_path)


def test_without_held_out_photos_nothing_is_evaluated(sample_photos, config, tmp_path):
  from im21k.packing.pack import pack

  pack(sample_photos, tmp_path / "photos", shards=2, workers=1)
  whole = config.changed({"data": str(tmp_path / "photos"), "total.steps": 2})
  result = loop.train(whole, tmp_path / "run")
  assert result["finished"] and result["eval_top_1"] is None


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"batch_size": 6}, "batch_size 6 is not divisible by the 4 devices"),
    ({"devices": 9}, "devices is 9, but this machine has 4"),
    (
      {"classes": "ilsvrc2012"},
      "'ilsvrc2012'.*'imagenet21k'|'imagenet21k'.*'ilsvrc2012'",
    ),
  ],
)
def test_what_does_not_fit_is_named_before_anything_is_written(
  config, tmp_path, change, message
):
  with pytest.raises(ValueError, match=message):
    loop.train(config.changed(change), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_threads_do_not_change_what_is_learnt(config, tmp_path, monkeypatch):
  for threads in (1, 5):
    brief = config.changed({"total.steps": 3, "threads": threads})
    loop.train(brief, tmp_path / str(threads))
  for a, b in zip(arrays(tmp_path / "1"), arrays(tmp_path / "5"), strict=True):
    np.testing.assert_array_equal(a, b)


def test_loader_position_is_what_is_saved(packed):
  batches = loading.TrainLoader(packed, batch_size=8, image_size=32).iter_from(0)
  next(batches)
  next(batches)
  assert batches.position == 16


@pytest.mark.parametrize(
  ("error", "where"),
  [
    (RuntimeError("RESOURCE_EXHAUSTED: no 9 GiB\nA table"), "the device"),
    (MemoryError(), "the machine"),
  ],
)
def test_too_little_memory_is_one_line_with_the_remedy(
  config, monkeypatch, tmp_path, error, where
):
  def prepare(config, begun):
    raise error

  monkeypatch.setattr(loop, "prepare", prepare)
  with pytest.raises(MemoryError, match=f"out of memory on {where}.*model.remat") as e:
    loop.train(config, tmp_path)
  assert "\n" not in str(e.value)


def test_the_log_alone_tells_what_happened(config, tmp_path, capsys, monkeypatch):
  """Stopped by a signal and resumed, without a terminal."""
  original = log.StepLog.add

  def add(self, metrics):
    if not stopped:
      stopped.append(os.kill(os.getpid(), signal.SIGTERM))
    return original(self, metrics)

  stopped = []
  monkeypatch.setattr(log.StepLog, "add", add)
  brief = config.changed(
    {"total.steps": 4, "log_every.steps": 2, "save_every.steps": 2}
  )
  said = []
  for _ in range(2):
    loop.train(brief, tmp_path)
    said.append([line[15:] for line in capsys.readouterr().err.splitlines()])
  checkpoint, exported = tmp_path / "checkpoints" / "1", tmp_path / "weights"
  begin = [
    f"run {tmp_path}: 4 steps (",
    "photos: 139 to train on, 24 held out",
  ]
  compiling = ["compiling the training step …", "compiled in 0:0"]
  expected = [
    [
      *begin,
      "evaluating 24 held-out photos at step 0 …",
      "evaluated at step 0/4 loss ",
      *compiling,
      "SIGTERM: saving, then stopping; a second one kills",
      "step 1/4 epoch ",
      "checkpoint saved at step 1",
    ],
    [
      *begin,
      f"resumed at step 1 from {checkpoint}",
      *compiling,
      "step 2/4 epoch ",
      "step 4/4 epoch ",
      "evaluating 24 held-out photos at step 4 …",
      "evaluated at step 4/4 loss ",
      f"weights written to {exported}",
      f"next: im21k evaluate {tmp_path} PHOTOS, or im21k report {tmp_path}",
    ],
  ]
  saved = [line for line in said[1] if line.startswith("checkpoint saved")]
  assert saved == ["checkpoint saved at step 2", "checkpoint saved at step 4"]
  said[1] = [line for line in said[1] if line not in saved]
  for lines, wanted in zip(said, expected, strict=True):
    for line, start in zip(lines, wanted, strict=True):
      assert line.startswith(start), (line, start)


def test_no_line_of_a_log_is_longer_than_120(config, tmp_path, capsys, monkeypatch):
  """Of a run that ends with an error, after warnings of libraries of every kind."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(command.xla, "set_up", lambda *_, **__: None)
  monkeypatch.setattr(command.program_cache, "use", lambda: None)
  (tmp_path / "photos").symlink_to(config.data)
  document = {**config.to_dict(), "data": "photos", "eval_data": {"n" * 24: "photos"}}
  (tmp_path / "mine.py").write_text(f"def get_config():\n  return {document}\n")
  original = log.StepLog.add

  def add(self, metrics):
    # As Python does where pytest takes no part.
    text = "a library warns at length " * 9
    sys.stderr.write(warnings.formatwarning(text, UserWarning, "library.py", 1))
    record = {"msg": "and says what it does, too, " * 9, "levelno": logging.ERROR}
    logging.lastResort.handle(logging.makeLogRecord(record))
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  arguments = ["train", "mine.py", "--workdir", "run", "--config.log_every.steps=1"]
  assert cli.main([*arguments, "--config.schedule.rates=1e30,1e30"]) == 1
  lines = capsys.readouterr().err.splitlines()
  assert max(map(len, lines)) <= 120, [line for line in lines if len(line) > 120]
  text = " ".join(line.strip() for line in lines)
  for part in (
    "eval_data nnnnnnnnnnnnnnnnnnnnnnnn: 24 photos: split eval of photos",
    "evaluated nnnnnnnnnnnnnnnnnnnnnnnn at step 0/12",
    "im21k: warning: a library warns at length a library warns",
    "and says what it does, too, and says",
    "im21k train: the loss is nan between steps",
  ):
    assert part in text, part

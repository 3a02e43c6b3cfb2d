"""Runs whose photos and batches grow: as runs one after another, exact on resume."""

import itertools
import re

import jax
import numpy as np
import pytest

from im21k import weights
from im21k.training import log, loop
from im21k.training.config import Config
from im21k.training.setup import prepare

# Five steps of 4 photos of 16 pixels, then seven of 8 photos of 32.
GROWING = {"phases": {"image_sizes": [16], "batch_sizes": [4], "until": {"steps": [5]}}}


@pytest.fixture
def growing(config):
  return config.changed(GROWING)


def arrays(folder):
  return jax.tree.leaves(weights.load(folder / "weights").variables)


def assert_same(a, b):
  for one, other in zip(a, b, strict=True):
    np.testing.assert_array_equal(one, other)


def steps_of(config, state, first, last, example):
  """The state after steps of a run without phases, begun with another's state."""
  run = prepare(config)
  take, axes = run.make_step(state)
  state = run.place(state, axes)
  batches = run.batches(example)
  for _ in range(first, last):
    state, _ = take(state, next(batches))
  position = batches.position
  batches.close()
  return jax.device_get(run.whole(state)), position


@pytest.mark.slow
def test_a_run_with_phases_is_runs_one_after_another(config, growing, tmp_path):
  loop.train(growing, tmp_path)
  small = config.changed({"image_size": 16, "batch_size": 4})
  state, example = steps_of(small, prepare(small).init(), 0, 5, 0)
  assert example == 20
  state, example = steps_of(config, state, 5, 12, example)
  assert example == 20 + 7 * 8
  ours = jax.tree.leaves({"batch_stats": state.batch_stats, "params": state.params})
  assert_same(ours, arrays(tmp_path))


@pytest.mark.slow
def test_killed_around_a_boundary_it_ends_in_the_same_bits(
  growing, tmp_path, monkeypatch
):
  """In the middle of a step: each start goes on from the checkpoint of an even one."""
  growing = growing.changed({"save_every.steps": 2})
  loop.train(growing, tmp_path / "unbroken")
  original = log.StepLog.add
  taken = dies = 0

  def add(self, metrics):
    nonlocal taken
    taken += 1
    if taken == dies:
      raise InterruptedError
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  begun = []
  for number in (4, 5, 6, 7, 8):
    dies = number
    with pytest.raises(InterruptedError):
      loop.train(growing, tmp_path / "broken")
    saved = (tmp_path / "broken" / "checkpoints").iterdir()
    taken = max(int(path.name) for path in saved if path.name.isdigit())
    begun.append(taken)
  assert begun == [2, 4, 4, 6, 6]
  dies = 0
  assert loop.train(growing, tmp_path / "broken")["finished"]
  assert_same(arrays(tmp_path / "unbroken"), arrays(tmp_path / "broken"))


@pytest.mark.slow
def test_stopped_at_every_step_around_a_boundary_it_ends_in_the_same_bits(
  growing, tmp_path, monkeypatch
):
  loop.train(growing, tmp_path / "unbroken")
  stops = iter([4, 5, 6])
  at = next(stops)
  due = loop.StopSignals.stop

  class Stops(loop.StopSignals):
    @property
    def stop(self):
      return taken == at or due.fget(self)

  taken = 0
  original = log.StepLog.add

  def add(self, metrics):
    nonlocal taken
    taken += 1
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  monkeypatch.setattr(loop, "StopSignals", Stops)
  results = []
  while not results or not results[-1]["finished"]:
    results.append(loop.train(growing, tmp_path / "broken"))
    at = next(stops, None)
  assert [result["step"] for result in results] == [4, 5, 6, 12]
  assert_same(arrays(tmp_path / "unbroken"), arrays(tmp_path / "broken"))
  last = [
    log.read_rows(tmp_path / name / "metrics.jsonl")[-1]
    for name in ("unbroken", "broken")
  ]
  times = ("time", "train_secs", "eval_secs")
  first, second = ({k: v for k, v in r.items() if k not in times} for r in last)
  assert first == second


@pytest.mark.slow
def test_rows_and_lines_tell_the_phases_apart(growing, tmp_path, capsys, monkeypatch):
  """By a clock that moves by a second in each step but those of a compilation."""
  seconds = 0.0
  original, counts = log.StepLog.add, itertools.count()

  def add(self, metrics):
    nonlocal seconds
    seconds += next(counts) not in (0, 5)
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  clock = loop.Clock
  monkeypatch.setattr(loop, "Clock", lambda before=None: clock(before, lambda: seconds))
  saving = {"save_every.steps": 99, "eval_every.examples": 36, "log_every.steps": 3}
  loop.train(growing.changed(saving), tmp_path)
  rows = log.read_rows(tmp_path / "metrics.jsonl")
  train = [row for row in rows if "loss" in row]
  assert [row["step"] for row in train] == [3, 5, 6, 7, 9, 11, 12]
  assert [row["images"] for row in train] == [12, 20, 28, 36, 52, 68, 76]
  assert [row["epoch"] for row in train] == [
    round(row["images"] / 139, 4) for row in train
  ]
  assert [row["images_per_s"] for row in train] == [4, 4, None, 8, 8, 8, 8]
  # 36 examples are 9 steps of 4, and 4 or 5 steps of 8.
  assert [r["step"] for r in rows if "eval_loss" in r] == [0, 7, 11, 12]
  said = capsys.readouterr().err
  for line in (
    "12 steps (0.5468 epochs) in 2 phases on 4 x cpu",
    "from step 0: 16 pixels, 4 photos a step",
    "from step 5: 32 pixels, 8 photos a step",
    "compiling the training step for 16 pixels, 4 photos …",
    "compiling the training step for 32 pixels, 8 photos …",
  ):
    assert line in said
  assert len(re.findall("compiled in", said)) == 2
  assert weights.load(tmp_path / "weights").input == weights.Input(32, 37)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{"split_head": True}, {"overlap": False}], ids=str)
def test_phases_train_alike_however_the_work_is_divided(growing, tmp_path, keys):
  loop.train(growing, tmp_path / "whole")
  loop.train(growing.changed(keys), tmp_path / "divided")
  pairs = zip(arrays(tmp_path / "whole"), arrays(tmp_path / "divided"), strict=True)
  for a, b in pairs:
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_four_devices_train_as_one_does(growing, tmp_path):
  together = growing.changed({"sync_bn": True})
  loop.train(together, tmp_path / "four")
  loop.train(together.changed({"devices": 1}), tmp_path / "one")
  pairs = zip(arrays(tmp_path / "four"), arrays(tmp_path / "one"), strict=True)
  for a, b in pairs:
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)


def test_rates_in_epochs_pass_through_the_phases(document):
  """139 photos: half an epoch is 17 steps of 4, then 9 of 8 to the end of the first."""
  phases = {"batch_sizes": [4], "until": {"epochs": [0.5]}}
  falling = {"name": "linear", "peak": 1.0, "warmup": {"epochs": 0.25}}
  config = Config.from_dict(
    {**document, "phases": phases, "schedule": falling, "total": {"epochs": 1}}
  )
  run = prepare(config)
  assert [p.first for p in run.course.phases] == [0, 17] and run.total == 26
  assert run.course.examples(26) == 68 + 9 * 8
  rates = [float(run.schedule(step)) for step in range(27)]
  assert rates[9] == max(rates) == 1 and rates[26] == 0 < rates[25]
  assert [p.image_size for p in run.course.phases] == [32, 32]


def test_sizes_follow_in_proportion(config):
  growing = config.changed({**GROWING, "short_side": 48})
  assert [one.options.short_side for one in prepare(growing).loaders] == [24, 48]
  usual = config.changed(GROWING)
  assert [one.options.short_side for one in prepare(usual).loaders] == [18, 37]
  spelled = usual.resolved()
  assert [one.options.short_side for one in prepare(spelled).loaders] == [18, 37]


def test_the_largest_step_decides_what_backprop_keeps(config):
  growing = config.changed(GROWING)
  assert growing.largest().to_dict() == config.resolved().to_dict()
  shrinking = config.changed(
    {"phases": {"image_sizes": [64], "batch_sizes": [4], "until": {"steps": [5]}}}
  )
  largest = shrinking.largest()
  assert (largest.image_size, largest.batch_size, largest.phases) == (64, 4, None)
  assert largest.eval_crop == (32, 37)


@pytest.mark.parametrize(
  ("phases", "message"),
  [
    ({"until": {"steps": []}, "image_sizes": []}, "phases.until is empty, but must"),
    ({"until": {"steps": [5, 5]}, "image_sizes": [8, 9]}, "phases.until is 5, 5, but"),
    ({"until": {"steps": [5]}}, "phases has neither image_sizes nor batch_sizes: set"),
    (
      {"until": {"steps": [5]}, "image_sizes": [8, 9]},
      "phases.image_sizes has 2 numbers, but phases.until has 1: give one for each",
    ),
    (
      {"until": {"steps": [5, 6]}, "batch_sizes": [8]},
      "phases.batch_sizes has 1 numbers, but phases.until has 2",
    ),
    ({"image_sizes": [16]}, "the config lacks phases.until"),
    ({"until": {"steps": [5]}, "image_sizes": [0]}, "phases.image_sizes is (0,), but"),
    ({"until": {"steps": [5]}, "batch_sizes": [6]}, "phases: batch_size 6 is not div"),
    (
      {"until": {"epochs": [0.01, 0.02]}, "image_sizes": [16, 24]},
      "phases.until is after 1, 1 steps... each phase needs at least one",
    ),
  ],
)
def test_phases_that_cannot_be_are_refused_in_a_line(document, phases, message):
  with pytest.raises(ValueError) as caught:
    prepare(Config.from_dict({**document, "phases": phases}))
  assert message.replace("...", ":") in str(caught.value)
  assert "\n" not in str(caught.value)

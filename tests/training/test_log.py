"""Rows that survive a kill, throughput between rows, the clock: all by a fake clock."""

import json
import resource

import optax
import pytest

from im21k.training import log
from im21k.training.course import steady
from im21k.training.outputs import CannotWrite


class Now:
  """A clock that stands still until it is set."""

  def __init__(self):
    self.seconds = 1000.0

  def __call__(self):
    return self.seconds


@pytest.fixture
def now():
  return Now()


def test_rows_past_the_checkpoint_and_a_torn_line_are_dropped(tmp_path):
  path = tmp_path / "metrics.jsonl"
  rows = [{"step": step, "loss": 1.0 / step} for step in (10, 20, 30)]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
  file = log.MetricsFile(path, resume_step=20)
  file.write(step=25, loss=0.5)
  file.close()
  assert [row["step"] for row in log.read_rows(path)] == [10, 20, 25]


@pytest.mark.parametrize(
  "line",
  [
    "{", "[]", '{"loss": 1}', '{"step": "1"}', "\0\0", "[" * 9999, '{"step": -1}',
    '{"step": 2, "images": "9"}', '{"step": 2, "loss": [1]}',
    '{"step": 2, "eval_set": 3}', '{"step": 2, "lr": true}',
  ],
  ids=range(11),
)  # fmt: skip
def test_a_damaged_line_is_named(tmp_path, line):
  path = tmp_path / "metrics.jsonl"
  path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
  with pytest.raises(
    ValueError, match=r"line 2 of .*metrics\.jsonl is damaged"
  ) as caught:
    log.MetricsFile(path, resume_step=20)
  assert "\n" not in str(caught.value)


def test_a_full_disk_is_named_and_what_was_written_of_a_row_is_repaired(tmp_path):
  """As RLIMIT_FSIZE fills it: part of the row, then an error."""
  path = tmp_path / "metrics.jsonl"
  file = log.MetricsFile(path, resume_step=0)
  file.write(step=1, loss=0.5)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, hard))
  try:
    with pytest.raises(CannotWrite, match=r"jsonl cannot be written: file too"):
      file.write(step=2, loss=0.25)
    file.close()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert not path.read_bytes().endswith(b"\n")
  again = log.MetricsFile(path, resume_step=2)
  again.write(step=2, loss=0.25)
  again.close()
  assert [row["step"] for row in log.read_rows(path)] == [1, 2]


def test_clock_leaves_pauses_out_and_counts_waiting(now):
  clock = log.Clock(now=now)
  now.seconds += 1
  with clock.pause("eval"):
    now.seconds += 100
  with clock.waiting():
    now.seconds += 5
  clock.tick()
  assert clock.state() == {"train_secs": 6.0, "data_secs": 5.0}


def test_clock_goes_on_after_a_restart(now):
  clock = log.Clock({"train_secs": 100.0, "data_secs": 7.0}, now)
  now.seconds += 3
  clock.tick()
  assert clock.state() == {"train_secs": 103.0, "data_secs": 7.0}


@pytest.fixture
def steps(now, tmp_path):
  """A clock, a file and a log of batches of 8 out of 100 examples."""
  clock, file = log.Clock(now=now), log.MetricsFile(tmp_path / "metrics.jsonl", 0)
  schedule = optax.piecewise_constant_schedule(0.5, {3: 0.1})
  rows = log.StepLog(
    file,
    clock,
    course=steady(32, 8, 100),
    schedule=schedule,
    health=lambda: {"bad_photos": int(now.seconds)},
  )
  yield clock, file, rows
  file.close()


def test_each_row_measures_the_steps_since_the_row_before(steps, now):
  clock, file, rows = steps
  for step, (waiting, computing) in enumerate([(1, 1), (1, 1), (0, 4), (2, 2)], 1):
    with clock.waiting():
      now.seconds += waiting
    now.seconds += computing
    rows.add({"loss": float(step), "top_1": 0.25 * step})
    if step % 2 == 0:
      rows.close_row(step)
  rows.flush(4)
  first, second = file.rows
  assert (first["step"], first["images"], first["epoch"]) == (2, 16, 0.16)
  assert (first["loss"], first["train_top_1"]) == (1.5, 0.375)
  assert (first["images_per_s"], first["data_wait_share"]) == (16 / 4, 0.5)
  assert (second["images_per_s"], second["data_wait_share"]) == (16 / 8, 0.25)
  assert (second["loss"], second["bad_photos"]) == (3.5, 1012)
  assert first["lr"] == 0.5 and second["lr"] == pytest.approx(0.05)


def test_a_row_is_written_while_the_step_after_it_runs(steps, now):
  _, file, rows = steps
  now.seconds += 1
  assert rows.add({"loss": 1.0, "top_1": 0.0}) is None
  rows.close_row(1)
  assert not file.rows
  row = rows.add({"loss": 7.0, "top_1": 0.0})
  assert row["step"] == 1 and row["loss"] == 1.0 and file.rows == [row]


def test_a_flush_writes_the_steps_that_are_no_whole_row(steps, now):
  _, file, rows = steps
  rows.flush(0)
  assert not file.rows, "there is nothing yet"
  now.seconds += 2
  rows.add({"loss": 1.0, "top_1": 0.0})
  rows.flush(1)
  assert [row["images_per_s"] for row in file.rows] == [4.0]


def test_a_row_without_time_has_no_throughput(steps):
  _, file, rows = steps
  rows.add({"loss": 1.0, "top_1": 0.0})
  rows.flush(1)
  assert file.rows[0]["images_per_s"] is None


def test_a_loss_that_is_not_finite_names_its_steps(steps):
  _, _, rows = steps
  for loss in (1.0, float("nan"), 1.0):
    rows.add({"loss": loss, "top_1": 0.0})
  with pytest.raises(FloatingPointError, match="nan between steps 1 and 3"):
    rows.flush(3)


def test_last_scores_are_the_newest_of_each():
  rows = [{"train_top_1": 0.1}, {"eval_top_1": 0.2}, {"train_top_1": 0.3}, {}]
  assert log.last_scores(rows) == {"train_top_1": 0.3, "eval_top_1": 0.2}
  assert log.last_scores([]) == {"train_top_1": None, "eval_top_1": None}

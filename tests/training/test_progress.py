"""Lines of a log: what each says, its length, and the time that is left."""

import contextlib
import os
import pty
import re
import subprocess
import sys

import pytest

from im21k.training import progress as progress_of
from im21k.training.course import steady
from im21k.training.durations import Duration
from im21k.training.progress import LONGEST, Progress, as_time

ROW = {
  "step": 10, "epoch": 0.8, "loss": 7.25, "train_top_1": 0.125, "lr": 0.05,
  "images_per_s": 40.0, "data_wait_share": 0.02,
}  # fmt: skip
COURSE = steady(32, 8, 100)
STAMP = r"[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-6]\d "


@pytest.fixture
def progress():
  with contextlib.closing(Progress(100, 0, steady(32, 8, 100))) as made:
    yield made


def lines(capsys):
  """The lines of standard error without their time."""
  said = capsys.readouterr().err.splitlines()
  assert all(re.match(STAMP, line) and len(line) <= LONGEST for line in said), said
  return [re.sub(STAMP, "", line) for line in said]


def test_a_row_is_a_line(progress, capsys):
  progress.row(ROW)
  assert lines(capsys) == [
    "step 10/100 epoch 0.80 loss 7.2500 top-1 12.5% rate 0.05 40 images/s "
    "data wait 2% left 0:00:18"
  ]


def test_the_time_left_is_that_of_recent_rows(progress):
  """8 photos a step: of the first row only 9 steps were timed, 0.2 s each."""
  assert progress.seconds_left(0) is None
  progress.row(ROW)
  assert progress.seconds_left(10) == pytest.approx(90 * 0.2)
  progress.row({**ROW, "step": 19, "images_per_s": 8.0})  # 9 steps, 1 s each.
  assert progress.seconds_left(19) == pytest.approx(81 * 0.6)
  for step in range(20, 30):  # Ten rows of a step each: what was before is forgotten.
    progress.row({**ROW, "step": step, "images_per_s": 4.0})
  assert progress.seconds_left(29) == pytest.approx(71 * 2)
  assert progress.seconds_left(100) == 0


@pytest.mark.parametrize(
  ("step", "evaluations"),
  [(10, 4), (29, 4), (30, 4), (31, 3), (90, 2), (91, 1), (99, 1), (100, 1)],
)
def test_the_time_left_has_the_evaluations_to_come(monkeypatch, step, evaluations):
  """At steps 30, 60, 90 and 100, each of two sets of 3 and 4 s; a step takes 0.2 s.

  A row is shown before the evaluation at its step.
  """
  now = 0.0
  monkeypatch.setattr(progress_of.time, "monotonic", lambda: now)
  counts = dict.fromkeys(("count", "bad", "unknown"), 1)
  names = ("loss", "top_1", "top_5", "top_20")
  with contextlib.closing(
    Progress(100, 0, COURSE, COURSE.every(Duration(30, "steps")))
  ) as progress:
    for at, seconds in ((0, 50), (0, 9), (30, 3), (30, 4)):
      with progress.evaluating(at, 1) as scores:
        now += seconds
        scores |= {**dict.fromkeys(names, 0.5), **counts}
    progress.row(ROW)
    left = progress.seconds_left(step)
  assert left == pytest.approx((100 - step) * 0.2 + evaluations * 7)


@pytest.mark.parametrize(
  ("step", "images_per_s"), [(1, 1e6), (10, None)], ids=["compilation", "no time"]
)
def test_where_nothing_was_timed_nothing_is_claimed(
  progress, capsys, step, images_per_s
):
  """The first step is timed with the compilation: its row knows no speed."""
  progress.row({**ROW, "step": step, "images_per_s": images_per_s})
  assert lines(capsys)[0].endswith(" ? images/s data wait ? left ?")


def test_a_resumed_run_leaves_its_first_step_out(capsys):
  with contextlib.closing(Progress(100, 50, COURSE)) as progress:
    progress.row({**ROW, "step": 51, "images_per_s": 1e6})
    progress.row({**ROW, "step": 52, "images_per_s": 8.0})
  assert [line[-12:] for line in lines(capsys)] == ["ait ? left ?", "left 0:00:48"]


def test_lines_of_enormous_runs_are_no_longer(capsys):
  with contextlib.closing(Progress(2**31 - 1, 0, steady(32, 1, 100))) as progress:
    enormous = {
      "step": 2**31 - 2**20, "epoch": 12345.678, "loss": 1e38, "train_top_1": 1.0,
      "lr": 1.2345e-5, "images_per_s": 12.0, "data_wait_share": 1.0,
    }  # fmt: skip
    progress.row(enormous)
    progress.row({**enormous, "step": 2**31 - 2**19, "images_per_s": 1234567.0})
    names = ("loss", "top_1", "top_5", "top_20")
    with progress.evaluating(2**31 - 1, 10**9, "n" * 24) as scores:
      counts = dict.fromkeys(("count", "bad", "unknown"), 10**9)
      scores |= {**dict.fromkeys(names, 1 / 3), **counts}
  said = lines(capsys)
  assert "loss 1e+38" in said[0] and "left " in said[0] and len(said) == 4


def test_pauses_say_when_they_begin_and_what_came_of_them(progress, capsys):
  with progress.compiling():
    assert lines(capsys) == ["compiling the training step …"]
  assert re.fullmatch("compiled in 0:00:0., the first step included", *lines(capsys))
  with progress.evaluating(6, 24) as scores:
    assert lines(capsys) == ["evaluating 24 held-out photos at step 6 …"]
    scores |= {
      "loss": 9.5, "top_1": 0.25, "top_5": 0.5, "top_20": 1, "count": 23, "bad": 1,
      "unknown": 0,
    }  # fmt: skip
  (line,) = lines(capsys)
  assert line.startswith(
    "evaluated at step 6/100 loss 9.5 top-1 25.00% top-5 50.00% "
    "23 photos, 1 unreadable in 0:0"
  )


def test_a_set_of_eval_data_has_its_name_in_the_log(progress, capsys):
  with progress.evaluating(6, 1, "v2") as scores:
    scores |= {
      "loss": 9.5, "top_1": 0.25, "top_5": 0.5, "top_20": 1, "count": 1, "bad": 0,
      "unknown": 7,
    }  # fmt: skip
  first, second = lines(capsys)
  assert first == "evaluating 1 photo of v2 at step 6 …"
  assert re.fullmatch(
    "evaluated v2 at step 6/100 loss 9.5 top-1 25.00% top-5 50.00% 1 photo, 7 of "
    "unknown classes in 0:00:0.",
    second,
  )


def test_a_pause_that_fails_says_nothing_more(progress, capsys):
  with pytest.raises(InterruptedError), progress.compiling():
    raise InterruptedError
  assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(0, "0:00:00"), (0.1, "0:00:01"), (3599.5, "1:00:00"), (360061, "100:01:01")],
)
def test_times_are_hours_minutes_seconds(seconds, text):
  assert as_time(seconds) == text


BAR = f"""
from im21k.training.outputs import say
from im21k.training import progress as progress_of
from im21k.training.progress import Progress
from im21k.training.course import steady
progress = Progress(100, 0, steady(32, 8, 100))
progress.step()
progress.row({ROW})
say("a note")
progress.close()
"""


def test_on_a_terminal_a_bar_stays_below_the_notes():
  reader, writer = pty.openpty()
  done = subprocess.run([sys.executable, "-c", BAR], stderr=writer, check=False)
  os.close(writer)
  shown = b""
  with contextlib.suppress(OSError):  # EIO: the end.
    while data := os.read(reader, 4096):
      shown += data
  os.close(reader)
  text = shown.decode()
  assert done.returncode == 0 and "train:" in text and "epoch" not in text
  note = next(line for line in text.split("\n") if "a note" in line)
  # The bar was wiped before the note, which has its line for itself.
  assert re.fullmatch(STAMP + "a note\r", note.rsplit("\r", 2)[1] + "\r"), note
  assert "loss=7.25" in text.rsplit("a note", 1)[1]

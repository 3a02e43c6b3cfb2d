"""Charts and figures of a run: those that its rows can give, and no other."""

import pytest

from im21k.pages import curves

TRAIN = [
  {"step": s, "images": 10 * s, "epoch": s / 10, "loss": 5.0 - s,
   "train_top_1": 0.1 * s, "lr": 0.1, "images_per_s": 20.0, "data_wait_share": 0.02 * s}
  for s in (1, 2, 3)
]  # fmt: skip
EVAL = [
  {"step": 2, "images": 20, "eval_top_1": 0.5, "eval_loss": 3.0, "eval_count": 100},
  {"step": 3, "images": 30, "eval_top_1": 0.4, "eval_loss": 3.5, "eval_count": 100},
]


def test_what_was_measured_is_drawn_and_nothing_else():
  titles = [chart.title for chart in curves.of_run([*TRAIN, *EVAL])]
  assert titles == [
    "Top-1 accuracy", "Loss, nats", "Learning rate", "Throughput, images/s",
    "Data wait, share of time",
  ]  # fmt: skip
  assert curves.of_run([]) == [] and curves.stats([]) == []
  top_1, loss, *_ = curves.of_run([*TRAIN, *EVAL])
  assert [line.name for line in top_1.lines] == ["train", "held out"]
  assert [line.texts.split(";")[-1] for line in loss.lines] == ["30|2", "30|3.5"]


def test_evaluation_sets_have_lines_and_scores_of_their_own():
  rows = [
    {**row, "eval_set": "val", "eval_v2_top_1": 0.25, "eval_v2_count": 40}
    for row in EVAL
  ]
  chart = curves.of_run(rows)[0]
  assert [line.name for line in chart.lines] == ["val", "v2"]
  shown = {name: (value, note) for name, value, note in curves.stats(rows)}
  assert shown["Top-1 on val"][0] == "40.00 %"
  assert "best 50.00 % at step 2" in shown["Top-1 on val"][1]
  assert shown["Top-1 on v2"] == ("25.00 %", "14.2 to 40.2 with 95 %; 40 photos")


def test_memory_is_drawn_in_bytes():
  rows = [{**row, "peak_device_mib": 1024.0, "peak_host_mib": 512} for row in TRAIN]
  chart = next(c for c in curves.of_run(rows) if c.title.startswith("Peak memory"))
  assert [line.texts.split("|")[-1] for line in chart.lines] == [
    "1,073,741,824",
    "536,870,912",
  ]
  assert ("Device memory", "1,024 MiB", "peak of the first one") in curves.stats(rows)


@pytest.mark.parametrize(
  ("rows", "seconds"),
  [
    (TRAIN, 1.5),
    ([*TRAIN[:1], EVAL[0], *TRAIN[1:]], 1.5),
    ([{**row, "train_secs": 7.0 + row["step"]} for row in TRAIN], 10.0),
    (EVAL, None),
    ([{**TRAIN[0], "images_per_s": None}], None),
  ],
)
def test_the_time_is_recorded_or_that_of_the_images(rows, seconds):
  assert curves.seconds_of(rows) == seconds


def test_the_time_of_several_devices_is_told():
  rows = [{**row, "train_secs": 7200.0} for row in TRAIN]
  (note,) = [note for name, _, note in curves.stats(rows, 4) if name == "Time"]
  assert note == "training alone; 20 images/s; 8 h of 4 devices in all"


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(8, "8 s"), (89, "89 s"), (120, "2 min"), (5400, "1.5 h"), (734_400, "8.5 days")],
)
def test_durations_are_in_the_unit_that_people_would_use(seconds, text):
  assert curves.duration(seconds) == text

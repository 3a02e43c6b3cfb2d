"""Rows that survive a kill, the clock, the learning curve."""

import json
import time

from PIL import Image

from im21k.training import log


def test_rows_past_the_checkpoint_and_a_torn_line_are_dropped(tmp_path):
  path = tmp_path / "metrics.jsonl"
  rows = [{"step": step, "loss": 1.0 / step} for step in (10, 20, 30)]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
  file = log.MetricsFile(path, resume_step=20)
  file.write(step=25, loss=0.5)
  file.close()
  assert [row["step"] for row in log.read_rows(path)] == [10, 20, 25]


def test_clock_leaves_pauses_out_and_counts_waiting():
  clock = log.Clock()
  with clock.pause():
    time.sleep(0.2)
  with clock.waiting():
    time.sleep(0.05)
  clock.tick()
  assert 0.05 <= clock.data_secs <= clock.train_secs < 0.2


def test_clock_goes_on_after_a_restart():
  clock = log.Clock()
  clock.restore({"train_secs": 100.0, "data_secs": 7.0})
  clock.tick()
  assert clock.train_secs >= 100.0 and clock.state()["data_secs"] == 7.0


def rows_of(rates):
  return [
    {"step": i, "images": 100 * (i + 1), "train_top_1": 0.01 * i, "lr": rate}
    for i, rate in enumerate(rates)
  ]


def test_phases_are_stretches_of_one_rate():
  rows = rows_of([0.05, 0.05, 0.01, 0.001])
  assert log._phases(rows) == [
    (0.0, 200, 0.05),
    (200, 300, 0.01),
    (300, 400, 0.001),
  ]


def test_a_rate_that_always_changes_has_no_phases():
  assert log._phases(rows_of([1.0 / i for i in range(1, 30)])) == []


def test_learning_curve_is_drawn_with_and_without_marks(tmp_path):
  rows = rows_of([0.05] * 5 + [0.01] * 5)
  rows.append({"step": 9, "images": 1000, "eval_top_1": 0.08})
  reference = {"label": "original", "images_per_pass": 500, "top_1": [11.7, 20.0]}
  pixels = []
  for index, marks in enumerate((None, reference)):
    path = tmp_path / f"{index}.png"
    log.draw_learning_curve(path, rows, marks)
    with Image.open(path) as image:
      assert image.width > 600
      pixels.append(image.tobytes())
  assert pixels[0] != pixels[1]
  log.draw_learning_curve(tmp_path / "empty.png", [])

"""The picture of a run: phases of the rate, and marks of another run."""

import pytest
from PIL import Image

from im21k.training import learning_curve
from im21k.training.sections import Reference


def rows_of(rates):
  return [
    {"step": i, "images": 100 * (i + 1), "train_top_1": 0.01 * i, "lr": rate}
    for i, rate in enumerate(rates)
  ]


def test_phases_are_stretches_of_one_rate():
  rows = rows_of([0.05, 0.05, 0.01, 0.001])
  assert learning_curve._phases(rows) == [
    (0.0, 200, 0.05),
    (200, 300, 0.01),
    (300, 400, 0.001),
  ]


def test_a_rate_that_always_changes_has_no_phases():
  assert learning_curve._phases(rows_of([1.0 / i for i in range(1, 30)])) == []


def test_the_axis_of_accuracy_ends_a_little_above_what_it_shows():
  train, evals = [{"train_top_1": 0.02}], [{"eval_top_1": 0.05}]
  assert learning_curve._top(train, evals, None) == pytest.approx(5.5)
  marks = Reference(label="", images_per_pass=9, top_1=(1.0, 20.0))
  assert learning_curve._top(train, [], marks) == pytest.approx(22)
  assert learning_curve._top([{"train_top_1": 0.0}], [], None) == 1
  assert learning_curve._top([{"train_top_1": 1.0}], [], None) == 101
  assert learning_curve._top([], [], None) == 101


def test_loss_and_rate_are_drawn_where_there_are_any(tmp_path):
  for rows in (rows_of([0.05]), [{**row, "loss": 2.5} for row in rows_of([0.05])]):
    learning_curve.draw(tmp_path / f"{len(rows[0])}.png", rows)
  assert (tmp_path / "4.png").read_bytes() != (tmp_path / "5.png").read_bytes()


def test_learning_curve_is_drawn_with_and_without_marks(tmp_path):
  rows = rows_of([0.05] * 5 + [0.01] * 5)
  rows.append({"step": 9, "images": 1000, "eval_top_1": 0.08})
  reference = Reference(label="original", images_per_pass=500, top_1=(11.7, 20.0))
  pixels = []
  for index, marks in enumerate((None, reference)):
    path = tmp_path / f"{index}.png"
    learning_curve.draw(path, rows, marks)
    with Image.open(path) as image:
      assert image.width > 600
      pixels.append(image.tobytes())
  assert pixels[0] != pixels[1]
  learning_curve.draw(tmp_path / "empty.png", [])


def test_a_label_is_text_whatever_is_in_it(tmp_path):
  """Mathematics that matplotlib cannot parse, and letters that its font has not."""
  for label in ("a $\\frac{", "5 $", "\u732b", "a\nb", ""):
    reference = Reference(label=label, images_per_pass=10, top_1=(1.0,))
    learning_curve.draw(tmp_path / "curve.png", rows_of([0.05]), reference)

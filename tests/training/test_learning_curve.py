"""The picture of a run: phases of the rate, and marks of another run."""

import contextlib

import pytest
from matplotlib.figure import Figure
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
  def top(*pairs, marks=None):
    rows = [{"images": 1, key: share} for key, share in pairs]
    return learning_curve._top(rows, marks)

  low = ("train_top_1", 0.02)
  assert top(low, ("eval_top_1", 0.05)) == pytest.approx(5.5)
  assert top(low, ("eval_v2_top_1", 0.1)) == pytest.approx(11)
  marks = Reference(label="", images_per_pass=9, top_1=(1.0, 20.0))
  assert top(low, marks=marks) == pytest.approx(22)
  assert top(("train_top_1", 0.0)) == 1
  assert top(("train_top_1", 1.0)) == top() == 101


def test_each_set_of_held_out_photos_has_a_curve_with_its_name(tmp_path, monkeypatch):
  figures = []
  monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
  rows = rows_of([0.05])
  scores = {"eval_top_1": 0.1, "eval_loss": 3, "eval_v2_top_1": 0.2, "eval_v2_loss": 4}
  rows.append({"step": 1, "images": 100, **scores, "eval_set": "val"})
  with contextlib.suppress(FileNotFoundError):  # Nothing was saved.
    learning_curve.draw(tmp_path / "curve.png", rows)
  accuracy, loss, _ = figures[0].axes
  shown = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
  assert shown == {"train, running": [0.0], "val": [10.0], "v2": [20.0]}
  assert [list(line.get_ydata()) for line in loss.lines] == [[], [3], [4]]
  assert loss.get_yscale() == "linear"
  colors = [[line.get_color() for line in axes.lines] for axes in (accuracy, loss)]
  assert colors[0] == colors[1]


@pytest.mark.parametrize(
  ("losses", "scale"),
  [
    ([], "linear"),
    ([9, 6, 5], "linear"),
    ([9000, 6, 5], "log"),
    ([900, 6, 0], "linear"),
  ],
)
def test_one_enormous_loss_does_not_flatten_the_others(losses, scale):
  axes = Figure().subplots()
  axes.plot(range(len(losses)), losses)
  assert learning_curve._scale(axes) == scale


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

"""Charts: coordinates are where the numbers say, and what is not drawn is told."""

import math
import re

import pytest

from im21k.pages import charts


def points(path):
  return [tuple(map(float, p.split())) for p in re.split("[MLZ]", path) if p]


def y_of(chart, text):
  return next(tick.at for tick in chart.y_ticks if tick.text == text)


def test_lines_span_the_axis_from_zero_to_the_last_image():
  series = {"train": [(0, 0.0), (50, 1.0), (100, 0.5)]}
  chart = charts.chart("Top-1", series, unit=charts.SHARE)
  (line,) = chart.lines
  start, middle, end = points(line.path)
  assert start == (chart.left, chart.base) and chart.base == y_of(chart, "0 %")
  assert middle[0] == (chart.left + chart.right) / 2
  assert end[0] == chart.right
  # 1.0 is at the top but for a margin; 0.5 half as high.
  assert chart.top < middle[1] < chart.top + 0.1 * (chart.base - chart.top)
  assert chart.base - end[1] == pytest.approx((chart.base - middle[1]) / 2, abs=0.11)
  assert chart.label == "Top-1: at the end train 50.00 % at 100 images"
  assert line.dots == points(line.path)
  assert line.texts == "0|0.00 %;50|100.00 %;100|50.00 %"
  assert line.across == " ".join(f"{x:g}" for x, _ in points(line.path))


def test_a_line_keeps_its_colour_where_another_is_empty():
  series = {"train": [(10, 0.5)], "held out": [(10, 0.25), (20, 0.5)]}
  both = charts.chart("a", series).lines
  assert [(line.name, line.number) for line in both] == [("train", 1), ("held out", 2)]
  (alone,) = charts.chart("a", {**series, "train": []}).lines
  assert alone.number == 2


@pytest.mark.parametrize(
  "series", [{}, {"a": []}, {"a": [(1, math.nan), (2, math.inf)]}]
)
def test_without_finite_points_there_is_no_chart(series):
  assert charts.chart("a", series) is None


def test_a_run_without_images_and_a_line_of_zeros_can_be_drawn():
  for series in ({"train": [(0, 0.5)]}, {"rate": [(0, 0.0), (5, 0.0)]}):
    (line,) = charts.chart("a", series).lines
    assert len(points(line.path)) == len(next(iter(series.values())))


def test_what_is_not_drawn_as_it_is_is_told():
  loss = [(0, 9e7), *[(x, 5.0) for x in range(1, 20)], (20, math.nan)]
  chart = charts.chart("Loss", {"train": loss})
  assert "1 values are not finite" in chart.notes
  assert "1 above the axis, up to 90,000,000" in chart.notes
  (line,) = chart.lines
  first, second, *_ = points(line.path)
  assert first[1] == chart.top and chart.top < second[1] < chart.base
  assert chart.label.startswith("Loss: at the end train 5 at 19 images")


def test_what_was_measured_before_the_first_step_does_not_flatten_the_rest():
  losses = {name: [(0, 9e7), (10, 5.0), (20, 4.0)] for name in "ab"}
  chart = charts.chart("Loss", losses)
  assert chart.notes == ["2 above the axis, up to 90,000,000"]
  (_, middle, _) = points(chart.lines[0].path)
  assert middle[1] < (chart.top + chart.base) / 2


def test_many_rows_are_drawn_as_means_with_their_range():
  rows = [(x, float(x % 2)) for x in range(4_001)]
  chart = charts.chart("a", {"rate": rows})
  (line,) = chart.lines
  drawn = points(line.path)
  assert len(drawn) <= 400 and drawn[-1][0] == chart.right and not line.dots
  assert chart.notes == ["each point is the mean of 11 rows, the band their range"]
  band = points(line.band)
  assert len(band) == 2 * len(drawn)
  zero, one = chart.base, min(y for _, y in band)
  assert {y for _, y in band[: len(drawn)]} == {one}
  assert {y for _, y in band[len(drawn) : -1]} <= {zero, one}
  assert all(one <= y <= zero for _, y in drawn)


def test_more_lines_than_colours_are_refused():
  with pytest.raises(ValueError, match="6 lines at most, not 7"):
    charts.chart("a", {str(i): [(0, 1.0)] for i in range(7)})


def test_the_axis_goes_below_zero_where_values_do():
  chart = charts.chart("a", {"a": [(0, -2.0), (1, 2.0)]})
  start, end = points(chart.lines[0].path)
  assert start[1] == chart.base and end[1] < y_of(chart, "0") < chart.base

"""Charts: coordinates are where the numbers say, and texts name the right classes."""

import re

import numpy as np
import pytest

from im21k.pages import charts
from im21k.synsets import hierarchy

# root 0; fir 1, oak 2, cat 3, in depth-first order as well.
GRAPH = hierarchy.Hierarchy(
  ["n00001740", "n11608250", "n12268246", "n02121620"],
  [[], [0], [0], [0]],
  [1, 2, 3],
)


def points(path):
  return [tuple(map(float, p.split())) for p in re.split("[ML]", path) if p]


def test_lines_span_the_axis_from_zero_to_the_last_image():
  chart = charts.lines("words", {"train": [(0, 0.0), (50, 1.0), (100, 0.5)]})
  (line,) = chart.lines
  start, middle, end = points(line.path)
  ground = {mark.text: mark.y for mark in chart.grid}
  assert start == (chart.left, ground["0%"])
  assert middle == ((chart.left + chart.right) / 2, ground["100%"])
  assert end == (chart.right, ground["50%"])
  assert (chart.label, chart.end) == ("words", "100")
  assert 0 < ground["100%"] < ground["0%"] < chart.height


def test_the_second_line_keeps_its_style_where_the_first_is_empty():
  series = {"train": [(10, 0.5)], "held out": [(10, 0.25), (20, 0.5)]}
  both = charts.lines("", series).lines
  assert [(line.name, line.kind) for line in both] == [
    ("train", "first"),
    ("held out", "second"),
  ]
  (alone,) = charts.lines("", {**series, "train": []}).lines
  assert (alone.kind, alone.x) == (both[1].kind, both[1].x)


def test_a_run_without_images_can_be_drawn():
  (line,) = charts.lines("", {"train": [(0, 0.5)]}).lines
  assert len(points(line.path)) == 1


def test_peaks_are_named_from_the_highest_on_and_stand_in_their_column():
  chart = charts.peaks(GRAPH, np.array([0.2, 0.7, 0.1], np.float32))
  assert [peak.text.split(" ")[-1] for peak in chart.peaks] == [
    "70.0%",
    "20.0%",
    "10.0%",
  ]
  assert chart.label == "Peaks: " + "; ".join(peak.text for peak in chart.peaks)
  bars = dict(re.findall(r"M(\d+) [\d.]+V([\d.]+)", chart.bars))
  for peak in chart.peaks:
    assert bars[str(peak.x)] == peak.end
    assert (peak.anchor == "end") == (peak.x > chart.width / 2)
  assert [peak.y for peak in chart.peaks] == sorted({peak.y for peak in chart.peaks})


@pytest.mark.parametrize(
  ("p", "count"), [([0.9999, 1e-4, 0], 1), ([0, 0, 0], 1), ([0.5, 0.499, 0.001], 3)]
)
def test_peaks_that_would_be_named_with_no_probability_are_left_out(p, count):
  assert len(charts.peaks(GRAPH, np.array(p, np.float32)).peaks) == count

"""Numbers -> the coordinates of line charts, which templates draw as SVG.

Texts in the results are plain: templates escape them.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from im21k.pages import ticks

Points = Sequence[tuple[float, float]]

MOST_LINES = 6  # The style has so many colours.
_MOST_POINTS = 400  # As many as columns of pixels of a chart: more are not seen.
_FEW = 30  # Points that are marked each, for one alone is no line.
_OUTLIER = 4  # Above so many times the 95th percentile, a point is clipped.


@dataclasses.dataclass(frozen=True)
class Tick:
  """A mark of an axis: its position, and its text."""

  at: float
  text: str


@dataclasses.dataclass(frozen=True)
class Line:
  """One line of a chart.

  Attributes:
    name: in the legend.
    number: 1 to `MOST_LINES`: its colour and dashes.
    path: SVG path of the line.
    band: SVG path around the smallest and largest values of each point, or "".
    dots: (x, y) of each point where there are few.
    across: x of each point in the chart, separated by spaces.
    texts: x and y of each point, written out, in the same order: `12,800|25.00 %`.
  """

  name: str
  number: int
  path: str
  band: str
  dots: list[tuple[float, float]]
  across: str
  texts: str


@dataclasses.dataclass(frozen=True)
class Chart:
  """Lines over one axis; `label` says the same in words, `notes` what is not drawn."""

  title: str
  label: str
  lines: list[Line]
  x_ticks: list[Tick]
  y_ticks: list[Tick]
  x_name: str
  notes: list[str]
  width: int = 400
  height: int = 220
  left: int = 48
  right: int = 390
  top: int = 10
  base: int = 180


@dataclasses.dataclass(frozen=True)
class Unit:
  """How numbers of an axis are written: on the axis, and one by one."""

  axis: Callable[[float], str]
  exact: Callable[[float], str]


SHARE = Unit(ticks.share, ticks.share_exact)
NUMBER = Unit(ticks.compact, ticks.exact)


def chart(
  title: str,
  series: Mapping[str, Points],
  *,
  unit: Unit = NUMBER,
  x_name: str = "images",
  x_end: float | None = None,
  clip: bool = True,
) -> Chart | None:
  """A chart of lines over an axis from 0, or None where there is no finite point.

  The vertical axis starts at 0 and ends above what it shows. Points far above all
  others are clipped to its end, and more points than a chart has columns are drawn as
  means with a band from the smallest to the largest; `notes` says so.

  Args:
    title: what the lines are.
    series: (x, y) of each line by its name, sorted by x; those without points are left
      out of the legend, and keep their colour.
    unit: how y is written.
    x_name: what x counts.
    x_end: end of the horizontal axis; by default the largest x.
    clip: whether points far above all others are clipped.

  Raises:
    ValueError: there are more than `MOST_LINES` lines.
  """
  if len(series) > MOST_LINES:
    raise ValueError(f"a chart shows {MOST_LINES} lines at most, not {len(series)}")
  finite = {
    name: np.array([(x, y) for x, y in line if math.isfinite(y)], float).reshape(-1, 2)
    for name, line in series.items()
  }
  every = np.concatenate([np.zeros((0, 2)), *finite.values()])
  if not len(every):
    return None
  notes = []
  if left_out := sum(map(len, series.values())) - len(every):
    notes.append(f"{left_out:,} values are not finite")
  end = max(x_end or 0.0, float(every[:, 0].max())) or 1.0
  low, high, clipped = _range(every, clip)
  if clipped:
    largest = unit.exact(float(every[:, 1].max()))
    notes.append(f"{clipped:,} above the axis, up to {largest}")
  empty = Chart(title, "", [], [], [], x_name, notes)
  axes = _Axes(empty, end, low, high)
  drawn = [
    _line(name, number, points, axes, unit, notes)
    for number, (name, points) in enumerate(finite.items(), 1)
    if len(points)
  ]
  return dataclasses.replace(
    empty,
    label=_label(title, finite, unit, x_name),
    lines=drawn,
    x_ticks=[Tick(axes.x(at), ticks.compact(at)) for at in ticks.ticks(0, end)],
    y_ticks=[Tick(axes.y(at), unit.axis(at)) for at in ticks.ticks(low, high)],
    notes=list(dict.fromkeys(notes)),
  )


@dataclasses.dataclass(frozen=True)
class _Axes:
  """Values -> coordinates."""

  chart: Chart
  end: float
  low: float
  high: float

  def x(self, value: float) -> float:
    chart = self.chart
    return round(chart.left + (chart.right - chart.left) * value / self.end, 1)

  def y(self, value: float) -> float:
    share = (min(value, self.high) - self.low) / (self.high - self.low)
    return round(self.chart.base - (self.chart.base - self.chart.top) * share, 1)


def _range(
  points: Float64[np.ndarray, "points 2"], clip: bool
) -> tuple[float, float, int]:
  """Both ends of the vertical axis, and how many values are above it."""
  values = points[:, 1]
  low, high = min(0.0, float(values.min())), float(values.max())
  # What is measured before the first step says nothing of what is usual.
  begun = values[points[:, 0] > 0] if (points[:, 0] > 0).any() else values
  usual = float(np.percentile(begun, 95, method="lower"))
  if clip and high > _OUTLIER * usual > 0 and len(values) > 2:
    high = 1.15 * usual
  else:
    high *= 1.06
  if high <= low:
    high = low + 1
  return low, high, int((values > high).sum())


def _line(
  name: str,
  number: int,
  points: Float64[np.ndarray, "points 2"],
  axes: _Axes,
  unit: Unit,
  notes: list[str],
) -> Line:
  """A line through the points, or through the means of neighbours."""
  size = -(-len(points) // _MOST_POINTS)
  groups = [points[at : at + size] for at in range(0, len(points), size)]
  band = ""
  if size > 1:
    notes.append(f"each point is the mean of {size} rows, the band their range")
    upper = [(axes.x(g[-1, 0]), axes.y(g[:, 1].max())) for g in groups]
    lower = [(axes.x(g[-1, 0]), axes.y(g[:, 1].min())) for g in groups]
    band = _path(upper + lower[::-1]) + "Z"
  means = [(float(g[-1, 0]), float(g[:, 1].mean())) for g in groups]
  drawn = [(axes.x(x), axes.y(y)) for x, y in means]
  return Line(
    name,
    number,
    _path(drawn),
    band,
    drawn if len(drawn) < _FEW else [],
    " ".join(f"{x:g}" for x, _ in drawn),
    ";".join(f"{ticks.exact(x)}|{unit.exact(y)}" for x, y in means),
  )


def _path(points: list[tuple[float, float]]) -> str:
  return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _label(
  title: str,
  series: Mapping[str, Float64[np.ndarray, "points 2"]],
  unit: Unit,
  x_name: str,
) -> str:
  """The last value of each line in words."""
  ends = [
    f"{name} {unit.exact(float(points[-1, 1]))} at {ticks.exact(float(points[-1, 0]))} "
    f"{x_name}"
    for name, points in series.items()
    if len(points)
  ]
  return f"{title}: at the end {'; '.join(ends)}"

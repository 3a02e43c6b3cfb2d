"""Numbers -> the coordinates of charts, which templates draw as SVG.

Texts in the results are plain: templates escape them.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32

from im21k.synsets.hierarchy import Hierarchy

_WIDTH, _HEIGHT = 420, 220  # So that letters stay legible on a phone.
_PEAKS, _LEAST = 5, 0.0005  # Below it a peak would be named with 0.0 %.


@dataclasses.dataclass(frozen=True)
class Mark:
  """A horizontal line of the grid, and its text."""

  y: float
  text: str


@dataclasses.dataclass(frozen=True)
class Line:
  """One line of a chart: its SVG path, and its entry in the legend at `x`."""

  name: str
  path: str
  kind: str
  x: int


@dataclasses.dataclass(frozen=True)
class LineChart:
  """Shares, 0 to 1, over an axis from 0 to `end`; `label` says the same in words."""

  label: str
  lines: list[Line]
  grid: list[Mark]
  end: str
  width: int = _WIDTH
  height: int = _HEIGHT
  left: int = 46
  right: int = _WIDTH - 8


@dataclasses.dataclass(frozen=True)
class Peak:
  """A named class: its text at (`x`, `y`), and where the line to its bar ends."""

  text: str
  x: int
  y: int
  end: str
  anchor: str


@dataclasses.dataclass(frozen=True)
class PeakChart:
  """Bars over all classes as an SVG path; `label` says the peaks in words."""

  label: str
  bars: str
  peaks: list[Peak]
  width: int = _WIDTH
  height: int = _HEIGHT


def lines(label: str, series: dict[str, list[tuple[int, float]]]) -> LineChart:
  """A chart of shares over one axis from 0; the second line is dashed.

  Args:
    label: the same in words.
    series: (x, share) of each line, by its name; at most two, one not empty.
  """
  chart = LineChart(label, [], [], "")
  end = max(x for line in series.values() for x, _ in line)
  base, top = _HEIGHT - 24, 24
  scale = (chart.right - chart.left) / max(end, 1)
  kinds = ("first", "second")
  drawn = [
    Line(
      name,
      "M"
      + "L".join(
        f"{chart.left + x * scale:.1f} {base - (base - top) * share:.1f}"
        for x, share in line
      ),
      kind,
      chart.left + 110 * at,
    )
    for at, ((name, line), kind) in enumerate(
      zip(series.items(), kinds[: len(series)], strict=True)
    )
    if line
  ]
  grid = [
    Mark(float(base - (base - top) * share), f"{share:.0%}")
    for share in (0, 0.25, 0.5, 0.75, 1)
  ]
  return dataclasses.replace(chart, lines=drawn, grid=grid, end=f"{end:,.0f}")


def peaks(
  hierarchy: Hierarchy, probabilities: Float32[np.ndarray, " classes"]
) -> PeakChart:
  """Probability over all classes in depth-first order, the peaks named."""
  along = probabilities[hierarchy.depth_first]
  column = np.arange(len(along)) * _WIDTH // len(along)
  highest = np.zeros(_WIDTH)
  np.maximum.at(highest, column, along)
  top = max(float(highest.max()), 1e-9)
  base, tall = _HEIGHT - 10, _HEIGHT - 120
  bars = "".join(
    f"M{x} {base}V{base - tall * value / top:.1f}"
    for x, value in enumerate(highest)
    if tall * value / top >= 0.5
  )
  named = []
  for row, at in enumerate(np.argsort(-along, kind="stable")[:_PEAKS].tolist()):
    node = hierarchy.label_node[int(hierarchy.depth_first[at])]
    if row and along[at] < _LEAST:
      break
    name = hierarchy.name(int(node)).partition(",")[0]
    x, end = int(column[at]), base - tall * float(along[at]) / top
    anchor = "end" if x > _WIDTH / 2 else "start"
    named.append(
      Peak(f"{name} {along[at]:.1%}", x, 16 + 20 * row, f"{end:.1f}", anchor)
    )
  return PeakChart("Peaks: " + "; ".join(peak.text for peak in named), bars, named)

"""Rows of metrics -> a picture of accuracy, loss and rate over images seen."""

import itertools
import warnings
from pathlib import Path
from typing import Any

from im21k import files
from im21k.training import eval_keys
from im21k.training.sections import Reference

_OF_SETS = ("#cc6677", "#228833", "#aa3377", "#ccbb44")  # Colours of held-out photos.
_OUTLIER = 10  # Times the median.
_FEW = 30  # Points that are marked each, for one alone is no line.


def draw(
  path: Path,
  rows: list[dict[str, Any]],
  reference: Reference | None = None,
) -> None:
  """Draws accuracy, and loss and learning rate below, over images seen.

  Phases of the rate are shaded. Each axis is scaled to what it shows.

  Args:
    path: PNG to write.
    rows: of a metrics file.
    reference: marks to compare with, as in the config section `reference`.
  """
  from matplotlib import ticker
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 7.5), layout="constrained")
  axes, losses, rates = figure.subplots(
    3, sharex=True, gridspec_kw={"height_ratios": (3, 1.2, 0.8)}
  )
  train = [row for row in rows if "train_top_1" in row]
  names = eval_keys.names_in(rows)
  colors = dict(zip(names, itertools.cycle(_OF_SETS)))
  for index, (start, end, rate) in enumerate(_phases(train)):
    axes.axvspan(start, end, color="#4477aa", alpha=0.14 if index % 2 else 0.05, lw=0)
    axes.text(
      (start + end) / 2, 1.01, f"lr {rate:.3g}", ha="center", va="bottom", size=8,
      transform=axes.get_xaxis_transform(),
    )  # fmt: skip
  seen = [row["images"] for row in train]
  axes.plot(
    seen,
    [100 * row["train_top_1"] for row in train],
    color="#4477aa",
    lw=1.6,
    marker="." if len(train) < _FEW else "",
    label="train, running",
  )
  for key, name in names.items():
    axes.plot(
      *_points(rows, key, 100),
      "o-",
      color=colors[key],
      ms=4,
      lw=1.2,
      label=name.replace("$", r"\$"),
    )
  if reference:
    label = reference.label.replace("$", r"\$")  # It is text, not mathematics.
    ends = [reference.images_per_pass * (i + 1) for i in range(len(reference.top_1))]
    axes.plot(ends, reference.top_1, "k_", ms=14, mew=2, label=label)
  for panel, key, color in (
    (losses, "loss", "#4477aa"),
    *((losses, name.replace("top_1", "loss"), colors[name]) for name in names),
    (rates, "lr", "#555555"),
  ):
    points = _points(rows, key)
    marker = "." if len(points[0]) < _FEW else ""
    panel.plot(*points, color=color, lw=1.2, marker=marker)
  axes.set(ylabel="top-1 accuracy, %")
  axes.set_ylim(-0.01 * (top := _top(rows, reference)), top)
  losses.set(ylabel="loss", yscale=_scale(losses))
  rates.set(ylabel="rate", xlabel="images seen")
  rates.set_ylim(bottom=0)
  rates.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  rates.set_xlim(left=0)
  for panel in (axes, losses, rates):
    panel.grid(alpha=0.25)
  axes.legend(loc="upper left")
  with files.whole(path) as aside, warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
    figure.savefig(aside, format="png", dpi=110)


def _points(
  rows: list[dict[str, Any]], key: str, times: int = 1
) -> tuple[list[int], list[float]]:
  """Images seen and values of the rows that have a value for this key."""
  found = [row for row in rows if row.get(key) is not None]
  return [row["images"] for row in found], [times * row[key] for row in found]


def _scale(axes: Any) -> str:
  """`log` where a few values, as of a first evaluation, would flatten all others."""
  shown = sorted(value for line in axes.lines for value in line.get_ydata())
  if not shown or shown[0] <= 0:
    return "linear"
  return "log" if shown[-1] > _OUTLIER * shown[len(shown) // 2] else "linear"


def _top(rows: list[dict[str, Any]], reference: Reference | None) -> float:
  """Where the axis of accuracy ends, in percent: a little above all that it shows."""
  keys = ["train_top_1", *eval_keys.names_in(rows)]
  shown = [value for key in keys for value in _points(rows, key, 100)[1]]
  shown += reference.top_1 if reference else ()
  return min(101.0, max(1.0, 1.1 * max(shown))) if shown else 101.0


def _phases(train: list[dict[str, Any]]) -> list[tuple[float, float, float]]:
  """Stretches `(first image, last image, lr)` of constant rate.

  A rate that changes in nearly every row has no phases: none are returned.
  """
  phases: list[tuple[float, float, float]] = []
  start = 0.0
  for row in train:
    if phases and phases[-1][2] == row["lr"]:
      phases[-1] = (phases[-1][0], float(row["images"]), row["lr"])
    else:
      phases.append((start, float(row["images"]), row["lr"]))
    start = float(row["images"])
  return phases if len(phases) <= 12 else []

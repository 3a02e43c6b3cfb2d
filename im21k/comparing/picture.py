"""Runs of a sweep -> a picture: each combination's mean curve, and each run's score."""

import statistics
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from im21k import files
from im21k.training.log import read_rows

PICTURE = "sweep.png"
_MOST_CURVES, _MOST_ROWS = 10, 60  # More could not be told apart, or read.
_LONGEST = 60  # Characters of a label.


def draw(path: Path, runs: Sequence[Mapping[str, Any]]) -> bool:
  """Draws top-1 accuracy over images seen, and at the end; returns whether it did.

  On held-out photos where there are any, else on training photos. A curve is the mean
  over the finished runs of a combination, its band their range; a dot is one run, the
  bar mean ± standard deviation.

  Args:
    path: PNG to write.
    runs: rows of `results.row`.
  """
  done = [run for run in runs if run["status"] == "finished"]
  key = (
    "eval_top_1"
    if any(run["eval_top_1"] is not None for run in done)
    else "train_top_1"
  )
  cells: dict[int, list[Mapping[str, Any]]] = {}
  for run in done:
    if run[key] is not None:
      cells.setdefault(run["cell"], []).append(run)
  cells = dict(sorted(cells.items())[:_MOST_ROWS])
  if not cells:
    return False
  from matplotlib import ticker
  from matplotlib.figure import Figure

  height = max(4.0, 1.2 + 0.3 * len(cells))
  figure = Figure(figsize=(12, height), layout="constrained")
  curves, dots = figure.subplots(1, 2, width_ratios=(1.2, 1))
  photos = "held-out" if key == "eval_top_1" else "training"
  for place, group in enumerate(cells.values()):
    color = f"C{place % 10}"
    label = _label(group[0]["values"])
    if place < _MOST_CURVES:
      _curve(curves, group, key, color, label)
    scores = [100 * run[key] for run in group]
    mean = statistics.fmean(scores)
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    dots.errorbar(mean, place, xerr=deviation, color=color, capsize=4, lw=2, zorder=1)
    dots.plot(mean, place, "|", color=color, ms=14, mew=2)
    dots.plot(scores, [place] * len(scores), "o", color=color, ms=5, mec="white")
  dots.set_yticks(range(len(cells)), [_label(g[0]["values"]) for g in cells.values()])
  dots.invert_yaxis()
  dots.set(xlabel=f"top-1 on {photos} photos, %", title="at the end, each run a dot")
  curves.set(xlabel="images seen", ylabel=f"top-1 on {photos} photos, %")
  more = f" (the first {_MOST_CURVES})" if len(cells) > _MOST_CURVES else ""
  curves.set_title(f"mean and range over seeds{more}")
  curves.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  curves.set_ylim(bottom=0)
  curves.legend(fontsize=8, loc="upper left")
  for panel in (curves, dots):
    panel.grid(alpha=0.25)
  with files.whole(path) as aside, warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
    figure.savefig(aside, format="png", dpi=110)
  return True


def _curve(
  axes: Any, group: Sequence[Mapping[str, Any]], key: str, color: str, label: str
) -> None:
  """The mean of the runs of one combination, where all of them were measured."""
  lines = [
    {row["images"]: 100 * row[key] for row in read_rows(_metrics(run)) if key in row}
    for run in group
  ]
  shared = sorted(set.intersection(*map(set, lines)))
  columns = [[line[x] for line in lines] for x in shared]
  mean = [sum(column) / len(column) for column in columns]
  axes.plot(shared, mean, color=color, lw=1.6, label=label, marker=".", ms=4)
  axes.fill_between(
    shared, list(map(min, columns)), list(map(max, columns)), color=color, alpha=0.15
  )


def _metrics(run: Mapping[str, Any]) -> Path:
  return Path(run["workdir"]) / "metrics.jsonl"


def _label(values: Mapping[str, str]) -> str:
  """The values of a combination as text, not as mathematics."""
  text = ", ".join(f"{name}={value}" for name, value in values.items()) or "all runs"
  text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
  return text.replace("$", r"\$")

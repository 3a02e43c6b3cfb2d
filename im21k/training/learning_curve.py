"""Rows of metrics -> a picture of accuracy, loss and rate over images seen."""

import warnings
from pathlib import Path
from typing import Any

from im21k import files
from im21k.training.sections import Reference

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
  evals = [row for row in rows if "eval_top_1" in row]
  for index, (start, end, rate) in enumerate(_phases(train)):
    axes.axvspan(start, end, color="#4477aa", alpha=0.14 if index % 2 else 0.05, lw=0)
    axes.text(
      (start + end) / 2, 1.01, f"lr {rate:g}", ha="center", va="bottom", size=8,
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
  if evals:
    axes.plot(
      [row["images"] for row in evals],
      [100 * r["eval_top_1"] for r in evals],
      "o-",
      color="#cc6677",
      ms=4,
      lw=1.2,
      label="held out",
    )
  if reference:
    label = reference.label.replace("$", r"\$")  # It is text, not mathematics.
    ends = [reference.images_per_pass * (i + 1) for i in range(len(reference.top_1))]
    axes.plot(ends, reference.top_1, "k_", ms=14, mew=2, label=label)
  for panel, rows_, key, color in (
    (losses, train, "loss", "#4477aa"),
    (losses, evals, "eval_loss", "#cc6677"),
    (rates, train, "lr", "#555555"),
  ):
    points = [(row["images"], row[key]) for row in rows_ if key in row]
    marker = "." if len(points) < _FEW else ""
    if points:
      panel.plot(*zip(*points, strict=True), color=color, lw=1.2, marker=marker)
  axes.set(ylabel="top-1 accuracy, %")
  axes.set_ylim(-0.01 * (top := _top(train, evals, reference)), top)
  losses.set(ylabel="loss")
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


def _top(
  train: list[dict[str, Any]],
  evals: list[dict[str, Any]],
  reference: Reference | None,
) -> float:
  """Where the axis of accuracy ends, in percent: a little above all that it shows."""
  shown = [100 * row["train_top_1"] for row in train]
  shown += [100 * row["eval_top_1"] for row in evals]
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

"""Rows of metrics -> a picture of accuracy over images seen."""

import warnings
from pathlib import Path
from typing import Any

from im21k import files
from im21k.training.sections import Reference


def draw(
  path: Path,
  rows: list[dict[str, Any]],
  reference: Reference | None = None,
) -> None:
  """Draws accuracy over images seen, phases of the learning rate shaded.

  Args:
    path: PNG to write.
    rows: of a metrics file.
    reference: marks to compare with, as in the config section `reference`.
  """
  from matplotlib import ticker
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 5), layout="constrained")
  axes = figure.subplots()
  train = [row for row in rows if "train_top_1" in row]
  evals = [row for row in rows if "eval_top_1" in row]
  for index, (start, end, rate) in enumerate(_phases(train)):
    axes.axvspan(start, end, color="#4477aa", alpha=0.14 if index % 2 else 0.05, lw=0)
    axes.text((start + end) / 2, 101, f"lr {rate:g}", ha="center", va="bottom", size=8)
  seen = [row["images"] for row in train]
  axes.plot(
    seen,
    [100 * row["train_top_1"] for row in train],
    color="#4477aa",
    lw=1.6,
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
  axes.set(xlabel="images seen", ylabel="top-1 accuracy, %", ylim=(0, 100))
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  axes.set_xlim(left=0)
  axes.grid(alpha=0.25)
  axes.legend(loc="lower right")
  with files.whole(path) as aside, warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
    figure.savefig(aside, format="png", dpi=110)


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

"""Rows of metrics of several runs -> curves over one axis, and scores at its end."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal

from im21k.comparing.members import Member
from im21k.comparing.results import FURTHER

Axis = Literal["images", "steps", "hours"]
Points = list[tuple[float, float]]
# What is drawn: the key of a row, and its title.
CURVES = {
  "eval_top_1": "Held-out top-1",
  "train_top_1": "Train top-1",
  "eval_loss": "Held-out loss",
  "loss": "Train loss",
  "lr": "Learning rate",
  "images_per_s": "Images/s",
  "data_wait_share": "Data wait, share of time",
}


def points(rows: Sequence[dict[str, Any]], key: str, axis: Axis) -> Points:
  """(x, y) of each row that has this key, by ascending x; finite ones only."""
  hours = _hours(rows) if axis == "hours" else []
  found = []
  for at, row in enumerate(rows):
    y = row.get(key)
    x = hours[at] if hours else row["step" if axis == "steps" else "images"]
    if isinstance(y, int | float) and math.isfinite(y) and x is not None:
      found.append((float(x), float(y)))
  return found


def title(key: str) -> str | None:
  """What a curve shows; None: the key is of no curve."""
  further = FURTHER.fullmatch(key)
  return CURVES.get(key) or (f"Top-1 on {further[1]}" if further else None)


def series(runs: Sequence[Member], axis: Axis) -> dict[str, dict[str, Points]]:
  """Of each curve that there is, the points of each run by its name."""
  further = {k: None for run in runs for row in run.rows for k in row if title(k)}
  found = {
    key: {run.name: points(run.rows, key, axis) for run in runs}
    for key in {**CURVES, **further}
  }
  return {key: lines for key, lines in found.items() if any(lines.values())}


def summary(run: Member) -> dict[str, Any]:
  """Where the curves of a run are at their end; None where it has none.

  Returns:
    `steps`, `images`, the newest `train_top_1`, `loss`, `eval_top_1`, `eval_top_5` and
    `eval_loss`; `best_top_1` on held-out photos and its `best_step`; `images_per_s`,
    the median over rows; `hours` of training.
  """
  rows = run.rows
  found: dict[str, Any] = {"run": run.name}
  found |= {
    "steps": rows[-1]["step"] if rows else None,
    "images": rows[-1]["images"] if rows else None,
  }
  for key in ("train_top_1", "loss", "eval_top_1", "eval_top_5", "eval_loss"):
    found[key] = next((r[key] for r in reversed(rows) if r.get(key) is not None), None)
  scored = [row for row in rows if row.get("eval_top_1") is not None]
  best = max(scored, key=lambda row: row["eval_top_1"], default={})
  found |= {"best_top_1": best.get("eval_top_1"), "best_step": best.get("step")}
  speeds = [row["images_per_s"] for row in rows if row.get("images_per_s")]
  found["images_per_s"] = statistics.median(speeds) if speeds else None
  hours = [one for one in _hours(rows) if one is not None]
  found["hours"] = hours[-1] if hours else None
  return found


def at_shared(runs: Sequence[Member], axis: Axis) -> dict[str, Any] | None:
  """Scores at the last point of the axis that all runs have reached.

  Returns:
    `x`; `measure`: held-out top-1, or train top-1 where not all were evaluated;
    `values`: the newest score of each run until there, by name. None: a run has no
    scores yet.
  """
  for key in ("eval_top_1", "train_top_1"):
    lines = {run.name: points(run.rows, key, axis) for run in runs}
    if not all(lines.values()):
      continue
    end = min(line[-1][0] for line in lines.values())
    values = {
      name: [y for x, y in line if x <= end][-1:] for name, line in lines.items()
    }
    if all(values.values()):
      shown = {name: one[0] for name, one in values.items()}
      return {"x": end, "measure": key, "values": shown}
  return None


def _hours(rows: Sequence[dict[str, Any]]) -> list[float | None]:
  """Hours of training until each row: recorded, or by the images and their rate.

  Evaluation, saving and compilation do not count.
  """
  total, seen, found = 0.0, 0, []
  for row in rows:
    if isinstance(row.get("train_secs"), int | float):
      total = float(row["train_secs"])
    elif row.get("images_per_s"):
      total += (row["images"] - seen) / row["images_per_s"]
    if "loss" in row:
      seen = row["images"]
    found.append(total / 3600)
  return list(found)

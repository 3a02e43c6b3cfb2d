"""Work folders of a sweep -> a row a run, a row a combination of values, a table.

The scores of a run are those of its last rows; of a combination, the mean and standard
deviation over its finished runs. As all have the same seeds, the gain over the first
combination is the mean of differences between runs of one seed.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from im21k import files
from im21k.comparing import folders
from im21k.comparing.grid import Run
from im21k.evaluation.results import as_csv
from im21k.training.log import read_rows

CELLS, RUNS = "sweep.csv", "runs.csv"


class Measure(NamedTuple):
  """What is measured of a run: its key, its head in the table, and how it is shown."""

  key: str
  head: str
  form: str = "{:.4g}"
  scale: float = 1.0


MEASURES = (
  Measure("eval_top_1", "held-out top-1 %", "{:.2f}", 100),
  Measure("eval_top_5", "top-5 %", "{:.2f}", 100),
  Measure("eval_loss", "held-out loss"),
  Measure("train_top_1", "train top-1 %", "{:.2f}", 100),
  Measure("loss", "train loss"),
  Measure("images_per_s", "images/s"),
  Measure("processor_h", "processor h", "{:.3g}"),
  Measure("hours", "hours", "{:.3g}"),
)
# Of a further evaluation set, by its name.
FURTHER = re.compile(r"eval_(.+)_top_1")
_LAST = ("eval_top_1", "eval_top_5", "eval_loss", "train_top_1", "loss")


def row(run: Run, place: Path, total: int) -> dict[str, Any]:
  """What is known of one run; scores are None where there are none.

  Args:
    run: the run.
    place: its work folder.
    total: its steps.
  """
  rows = read_rows(place / "metrics.jsonl")
  record = folders.Record(place)
  costs = {name: record.sum(name) for name in ("processor_s", "seconds")}
  speeds = [one["images_per_s"] for one in rows if one.get("images_per_s")]
  found: dict[str, Any] = {
    "name": run.name,
    "workdir": str(place),
    "values": run.values,
    "cell": run.cell,
    "seed": run.seed,
    "status": "new",
    "step": folders.last_step(place) or 0,
    "total": total,
    "reason": None,
    **{name: _last(rows, name) for name in _LAST},
    "images_per_s": statistics.median(speeds) if speeds else None,
    "processor_h": _hours(costs["processor_s"]),
    "hours": _hours(costs["seconds"]),
    "is_whole_cost": record.is_whole,
  }
  further = dict.fromkeys(key for one in rows for key in one if FURTHER.fullmatch(key))
  found |= {name: _last(rows, name) for name in further}
  if folders.is_finished(place, total):
    found |= {"status": "finished", "step": total}
  elif record.failed:
    found |= {"status": "failed", "reason": str(record.failed.get("reason"))}
  elif found["step"] or rows:
    found["status"] = "unfinished"
  return found


def status(run: Mapping[str, Any]) -> str:
  """How far a run is, for people."""
  match run["status"]:
    case "finished":
      return "finished"
    case "failed":
      return f"failed: {run['reason']}"
    case "unfinished":
      return f"unfinished, step {run['step']:,} of {run['total']:,}"
  return "new"


def cells(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """A row for each combination of values, from the rows of its runs.

  Returns:
    Rows of `values`, `runs`, `finished`, `failed`; `NAME_mean` and `NAME_std` of each
    of MEASURES, and of top-1 on further evaluation sets, over the finished ones (None:
    too few); `gain_mean`, `gain_std` and
    `pairs`: of held-out top-1, or train top-1 where nothing is held out, over the first
    combination, by seed; `is_whole_cost`: whether every stretch of them was timed.
  """
  members: dict[int, list[Mapping[str, Any]]] = {}
  for run in runs:
    members.setdefault(run["cell"], []).append(run)
  done = {
    cell: [run for run in group if run["status"] == "finished"]
    for cell, group in members.items()
  }
  score = _score(runs)
  further = dict.fromkeys(key for run in runs for key in run if FURTHER.fullmatch(key))
  found = []
  for cell, group in sorted(members.items()):
    one: dict[str, Any] = {"values": group[0]["values"], "runs": len(group)}
    one["finished"] = len(done[cell])
    one["failed"] = sum(run["status"] == "failed" for run in group)
    for key in (*(measure.key for measure in MEASURES), *further):
      known = [run[key] for run in done[cell] if run.get(key) is not None]
      one |= _spread(key, known)
    base = {run["seed"]: run[score] for run in done[min(members)]}
    gains = [
      run[score] - base[run["seed"]]
      for run in done[cell]
      if cell != min(members)
      and run[score] is not None
      and base.get(run["seed"]) is not None
    ]
    one |= {**_spread("gain", gains), "pairs": len(gains)}
    one["is_whole_cost"] = all(run["is_whole_cost"] for run in done[cell])
    found.append(one)
  return found


def _score(runs: Sequence[Mapping[str, Any]]) -> str:
  """The measure that decides: of held-out photos, if there are any."""
  is_held_out = any(run["eval_top_1"] is not None for run in runs)
  return "eval_top_1" if is_held_out else "train_top_1"


def _spread(name: str, numbers: Sequence[float]) -> dict[str, float | None]:
  """Mean, and standard deviation of a sample (n − 1)."""
  return {
    f"{name}_mean": statistics.fmean(numbers) if numbers else None,
    f"{name}_std": statistics.stdev(numbers) if len(numbers) > 1 else None,
  }


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """The rows of `cells` as lines for people: mean ± standard deviation."""
  if not rows:
    return []
  keys = list(rows[0]["values"])
  measures = [
    one
    for one in (*MEASURES[:2], *_further(rows), *MEASURES[2:])
    if any(row[f"{one.key}_mean"] is not None for row in rows)
  ]
  if any(one.key == "eval_loss" for one in measures):  # Else the table is too wide.
    measures = [one for one in measures if one.key != "loss"]
  heads = [*keys, "runs", *(one.head for one in measures)]
  lines = [
    [
      *row["values"].values(),
      f"{row['finished']}/{row['runs']}",
      *(_cell(row, one) for one in measures),
    ]
    for row in rows
  ]
  if any(row["pairs"] for row in rows):
    at = len(keys) + 2
    heads.insert(at, "over the first")
    gain = Measure("gain", "", "{:+.2f}", 100)
    for line, row in zip(lines, rows, strict=True):
      line.insert(at, _cell(row, gain))
  widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
  return [
    "  ".join(
      part.ljust(width) for part, width in zip(line, widths, strict=True)
    ).rstrip()
    for line in (heads, *lines)
  ]


def _further(rows: Sequence[Mapping[str, Any]]) -> list[Measure]:
  """Top-1 on each further evaluation set."""
  keys = dict.fromkeys(key.removesuffix("_mean") for row in rows for key in row)
  named = [(key, FURTHER.fullmatch(key)) for key in keys]
  return [
    Measure(key, f"{found[1]} top-1 %", "{:.2f}", 100) for key, found in named if found
  ]


def _cell(row: Mapping[str, Any], measure: Measure) -> str:
  mean, deviation = row[f"{measure.key}_mean"], row[f"{measure.key}_std"]
  if mean is None:
    return "-"
  shown = measure.form.format(mean * measure.scale)
  if deviation is not None:
    form = measure.form.replace("+", "").replace(".4g", ".2g")
    shown += f" ± {form.format(deviation * measure.scale)}"
  # Of a stretch that was killed nobody knows how long it took.
  is_least = measure.key in ("processor_h", "hours") and not row["is_whole_cost"]
  return f"≥ {shown}" if is_least else shown


def write(
  root: Path, rows: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
  """Writes the rows of `cells` and of runs as CSV; returns the files by name."""
  found = {}
  for title, name, lines in (("table", CELLS, rows), ("runs", RUNS, runs)):
    flat = [{**line["values"], **line} for line in lines]
    for line in flat:
      del line["values"]
    files.write_text(root / name, as_csv(flat))
    found[title] = str(root / name)
  return found


def _last(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
  return next((row[name] for row in reversed(rows) if row.get(name) is not None), None)


def _hours(seconds: float | None) -> float | None:
  return None if seconds is None else seconds / 3600

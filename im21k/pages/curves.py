"""Rows of `metrics.jsonl` -> charts of a run, and what it has cost."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from im21k import words
from im21k.evaluation import accuracy
from im21k.pages import charts, ticks
from im21k.training import eval_keys

Rows = Sequence[dict[str, Any]]


def of_run(rows: Rows) -> list[charts.Chart]:
  """Charts over images seen, those that have anything to show."""
  sets = _sets(rows)

  def points(key: str, scale: float = 1.0) -> charts.Points:
    return [
      (row["images"], scale * row[key])
      for row in rows
      if isinstance(row.get(key), int | float)
    ]

  scores = {name: points(f"{key}_top_1") for name, key in sets.items()}
  losses = {name: points(f"{key}_loss") for name, key in sets.items()}
  top_5 = {f"{name}, top-5": points(f"{key}_top_5") for name, key in sets.items()}
  memory = {
    "device": points("peak_device_mib", 2**20),
    "host": points("peak_host_mib", 2**20),
  }
  wait = {"waiting for data": points("data_wait_share")}
  end = float(max((row["images"] for row in rows), default=0))
  found = [
    charts.chart(
      "Top-1 accuracy", {"train": points("train_top_1"), **scores},
      unit=charts.SHARE, x_end=end,
    ),
    charts.chart("Loss, nats", {"train": points("loss"), **losses}, x_end=end),
    charts.chart("Learning rate", {"rate": points("lr")}, x_end=end),
    charts.chart("Throughput, images/s", {"rate": points("images_per_s")}, x_end=end),
    charts.chart("Data wait, share of time", wait, unit=charts.SHARE, x_end=end),
    charts.chart("Peak memory, bytes", memory, x_end=end),
    charts.chart("Top-5 accuracy, held out", top_5, unit=charts.SHARE, x_end=end),
  ]  # fmt: skip
  return [chart for chart in found if chart]


def stats(rows: Rows, devices: int | None = None) -> list[tuple[str, str, str]]:
  """Names, values and notes: how far a run is, how good, and what it has cost.

  Args:
    rows: of a metrics file.
    devices: number that trained, if known.
  """
  train = [row for row in rows if "loss" in row]
  shown: list[tuple[str, str, str]] = []
  for name, key in _sets(rows).items():
    shown += _score(rows, name, key)
  if train and (last := train[-1].get("train_top_1")) is not None:
    shown.append(("Train top-1", ticks.share_exact(last), "running, augmented photos"))
  if rows:
    passes = rows[-1].get("epoch") or (train[-1].get("epoch") if train else None)
    note = f"{rows[-1]['images']:,} images"
    if passes is not None:
      note += f", {passes:.4g} passes"
    shown.append(("Steps", f"{rows[-1]['step']:,}", note))
  if (seconds := seconds_of(rows)) is not None:
    rates = [row["images_per_s"] for row in train if row.get("images_per_s")]
    note = "training alone"
    if rates:
      note += f"; {ticks.exact(round(median(rates), 1))} images/s"
    if devices and devices > 1:
      note += f"; {duration(devices * seconds)} of {devices} devices in all"
    shown.append(("Time", duration(seconds), note))
  if waits := [r["data_wait_share"] for r in train if r.get("data_wait_share")]:
    note = "of training time, mean"
    shown.append(("Data wait", ticks.share(sum(waits) / len(waits)), note))
  if peaks := [r["peak_device_mib"] for r in train if r.get("peak_device_mib")]:
    shown.append(("Device memory", f"{max(peaks):,.0f} MiB", "peak of the first one"))
  return shown


def seconds_of(rows: Rows) -> float | None:
  """Seconds of training: recorded, or from the images and their rate."""
  recorded = [row["train_secs"] for row in rows if row.get("train_secs") is not None]
  if recorded:
    return float(recorded[-1])
  total, seen, timed = 0.0, 0, False
  for row in rows:
    if (row.get("images_per_s") or 0) > 0:
      total += (row["images"] - seen) / row["images_per_s"]
      timed = True
    if "loss" in row:
      seen = row["images"]
  return total if timed else None


def duration(seconds: float) -> str:
  """`45 s`, `12 min`, `3.4 h`, `8.5 days`."""
  for length, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
    if seconds >= 1.5 * length:
      return f"{seconds / length:.3g} {name}"
  return f"{seconds:.3g} s"


def last(rows: Rows, name: str) -> float | None:
  """The newest value of a key; None where there is none."""
  found = (row[name] for row in reversed(rows) if row.get(name) is not None)
  return next(found, None)


def _sets(rows: Rows) -> dict[str, str]:
  """Evaluation sets of the run: names to show, and the beginnings of their keys."""
  names = eval_keys.names_in(rows)
  sets = {name: key.removesuffix("_top_1") for key, name in names.items()}
  # The chart has a line for training, too.
  return dict(list(sets.items())[: charts.MOST_LINES - 1])


def _score(rows: Rows, name: str, key: str) -> list[tuple[str, str, str]]:
  """The newest score of an evaluation set with its interval, and the best one."""
  scored = [row for row in rows if row.get(f"{key}_top_1") is not None]
  if not scored:
    return []
  newest, count = scored[-1], scored[-1].get(f"{key}_count")
  share = newest[f"{key}_top_1"]
  note = ""
  if count:
    low, high = accuracy.wilson(round(share * count), count)
    note = f"{100 * low:.1f} to {100 * high:.1f} with 95 %; "
    note += words.counted(count, "photo")
  best = max(scored, key=lambda row: row[f"{key}_top_1"])
  if best[f"{key}_top_1"] > share:
    note += f"; best {ticks.share_exact(best[f'{key}_top_1'])} at step {best['step']:,}"
  title = "Held-out top-1" if name == "held out" else f"Top-1 on {name}"
  if not math.isfinite(share):
    return []
  return [(title, ticks.share_exact(share), note)]

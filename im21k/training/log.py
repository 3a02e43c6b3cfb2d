"""What a run tells: metrics, the clock, its environment, the learning curve."""

import contextlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from im21k import files, machine
from im21k.weights import commit


class MetricsFile:
  """JSON lines, one a row of measurements, each with its `step`; append-only."""

  def __init__(self, path: Path, resume_step: int):
    """Opens `path`; rows past `resume_step`, and a torn last line, are dropped."""
    kept = [row for row in read_rows(path) if row["step"] <= resume_step]
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    self.rows = kept
    self._file = path.open("a", encoding="utf-8")

  def write(self, **row: Any) -> None:
    """Appends a row; it is on the disk when this returns."""
    self.rows.append(row)
    self._file.write(json.dumps(row) + "\n")
    self._file.flush()
    os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of a metrics file, without a last line that a killed run left torn."""
  if not path.exists():
    return []
  lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
  return [json.loads(line) for line in lines if line.endswith("\n")]


class Clock:
  """Seconds spent on training itself: evaluation, saving and compilation do not count.

  Attributes:
    train_secs: so far, over all restarts.
    data_secs: of these, spent waiting for data.
  """

  def __init__(self) -> None:
    self.train_secs = self.data_secs = 0.0
    self._since: float = time.perf_counter()

  def tick(self) -> None:
    """Brings `train_secs` up to now."""
    now = time.perf_counter()
    self.train_secs += now - self._since
    self._since = now

  @contextlib.contextmanager
  def pause(self) -> Iterator[None]:
    """Time in here does not count."""
    self.tick()
    yield
    self._since = time.perf_counter()

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Time in here counts, and counts as waiting for data."""
    start = time.perf_counter()
    yield
    self.data_secs += time.perf_counter() - start

  def state(self) -> dict[str, float]:
    """What a checkpoint keeps."""
    return {"train_secs": self.train_secs, "data_secs": self.data_secs}

  def restore(self, state: dict[str, float]) -> None:
    """Goes on from a checkpoint's clock."""
    self.train_secs, self.data_secs = state["train_secs"], state["data_secs"]


def environment(on: Sequence[jax.Device]) -> dict[str, str]:
  """What a run runs on: devices, system, versions of what decides its numbers."""
  packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
  return {
    "devices": f"{len(on)} x {on[0].device_kind}",
    "system": f"{platform.platform()}, {machine.cores()} CPU cores",
    "python": platform.python_version(),
    **{name: importlib.metadata.version(name) for name in packages},
    "commit": commit() or "not a git checkout",
  }


def draw_learning_curve(
  path: Path,
  rows: list[dict[str, Any]],
  reference: dict[str, Any] | None = None,
) -> None:
  """Draws accuracy over images seen, phases of the learning rate shaded.

  Args:
    path: PNG to write.
    rows: of a metrics file.
    reference: marks to compare with: `label`, `images_per_pass` and `top_1`, the
      train top-1 in percent at the end of each pass.
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
    marks = reference["top_1"]
    ends = [reference["images_per_pass"] * (i + 1) for i in range(len(marks))]
    axes.plot(ends, marks, "k_", ms=14, mew=2, label=reference["label"])
  axes.set(xlabel="images seen", ylabel="top-1 accuracy, %", ylim=(0, 100))
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  axes.set_xlim(left=0)
  axes.grid(alpha=0.25)
  axes.legend(loc="lower right")
  with files.whole(path) as aside:
    figure.savefig(aside, format="png", dpi=110)


def _phases(train: list[dict[str, Any]]) -> list[tuple[float, float, float]]:
  """Stretches `(first image, last image, lr)` of constant rate.

  A rate that changes in nearly every row has no phases: none are returned.
  """
  phases: list[tuple[float, float, float]] = []
  start = 0.0
  for row in train:
    if phases and phases[-1][2] == row["lr"]:
      phases[-1] = (phases[-1][0], row["images"], row["lr"])
    else:
      phases.append((start, row["images"], row["lr"]))
    start = row["images"]
  return phases if len(phases) <= 12 else []

"""Metrics of steps -> rows of `metrics.jsonl`, with loss, accuracy and throughput."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax

from im21k import files
from im21k.training import eval_keys, trackers
from im21k.training.clock import Clock
from im21k.training.course import Course
from im21k.training.outputs import writing


class MetricsFile:
  """JSON lines, one a row of measurements, each with its `step`; append-only.

  Attributes:
    rows: all that are in the file.
    trackers: are given each row once it is on the disk, and closed with the file.
  """

  def __init__(self, path: Path, resume_step: int, writes: bool = True):
    """Opens `path`; drops rows past `resume_step`, and a torn last line.

    Args:
      path: the file.
      resume_step: of the run.
      writes: False reads it only, and keeps new rows in memory, beside a host that
        writes them.
    """
    kept = [row for row in read_rows(path) if row["step"] <= resume_step]
    self.rows, self._path = kept, path
    self.trackers: list[trackers.Tracker] = []
    self._file: Any = None
    if not writes:
      return
    with writing(path):
      files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
      # Without a buffer: what could not be written would be tried again at the close.
      self._file = path.open("ab", buffering=0)

  def write(self, **row: Any) -> None:
    """Appends a row; it is on the disk when this returns."""
    self.rows.append(row)
    if self._file is None:
      return
    line = json.dumps(row).encode() + b"\n"
    with writing(self._path):
      while line:
        line = line[self._file.write(line) :]
      os.fsync(self._file.fileno())
    for tracker in self.trackers:
      tracker.write(row)

  def close(self) -> None:
    """Closes the file and the trackers."""
    if self._file is not None:
      self._file.close()
    for tracker in self.trackers:
      tracker.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of a metrics file, without a last line that a killed run left torn.

  Raises:
    ValueError: another line is no row; names it.
  """
  if not path.exists():
    return []
  lines = path.read_bytes().splitlines(keepends=True)
  whole = [line for line in lines if line.endswith(b"\n")]
  return [_row(path, number, line) for number, line in enumerate(whole, 1)]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
    row = None
  if not isinstance(row, dict) or type(row.get("step")) is not int:
    wrong = "it is no JSON object with a step"
  elif name := next((n for n, value in row.items() if not _fits(n, value)), None):
    wrong = f"{name[:60]!r} is {str(row[name])[:60]!r}"
  else:
    known: dict[str, Any] = row
    return known
  raise ValueError(
    f"line {number} of {path} is damaged: {wrong}: remove or mend that line"
  )


def _fits(name: str, value: Any) -> bool:
  """Whether a row may have this: a name of a set, a number, or null."""
  if name == "eval_set":
    return isinstance(value, str)
  if name in ("step", "images"):
    return type(value) is int and value >= 0
  return value is None or type(value) in (int, float)


def last_scores(rows: list[dict[str, Any]]) -> dict[str, float | None]:
  """The newest `train_top_1` and `eval_top_1`; None where there is none.

  Of each further set of `eval_data` also its newest `eval_NAME_top_1`.
  """
  names = ["train_top_1", "eval_top_1"]
  names += [key for key in eval_keys.names_in(rows) if key not in names]
  return {
    name: next((row[name] for row in reversed(rows) if name in row), None)
    for name in names
  }


class StepLog:
  """Collects the metrics of steps; writes a row while the step after it runs.

  Metrics stay on the device until their row is written, so that no step waits for them.
  """

  def __init__(
    self,
    file: MetricsFile,
    clock: Clock,
    *,
    course: Course,
    schedule: optax.Schedule,
    health: Callable[[], Mapping[str, Any]] = dict,
    show: Callable[[dict[str, Any]], None] = lambda row: None,
  ):
    """Starts to measure throughput.

    Args:
      file: to write to.
      clock: of the run.
      course: of the run.
      schedule: learning rate by step.
      health: gives what else a row holds, asked when the row ends.
      show: is given each row that has been written.
    """
    self._health, self._show = health, show
    self._file, self._clock, self._schedule = file, clock, schedule
    self._course = course
    self._untimed = 0  # steps since the last row that were taken in a pause
    self._metrics: list[Any] = []  # of the steps since the last row, on the device
    # Step, metrics of its steps, those not timed, seconds trained and waited, and what
    # else the row holds.
    self._pending: (
      tuple[int, list[Any], int, float, float, Mapping[str, Any]] | None
    ) = None
    self._mark = (clock.train_secs, clock.data_secs)

  def pause(self) -> None:
    """Notes that the step which is added next was taken while the clock stood."""
    self._untimed += 1

  def add(self, metrics: Any) -> dict[str, Any] | None:
    """Takes the metrics of a step that has been started; returns a row, if one is due.

    Raises:
      FloatingPointError: the loss in that row is not finite.
    """
    self._metrics.append(metrics)
    return self._write()

  def close_row(self, step: int) -> None:
    """Ends a row at this step, to be written when the next step has been started."""
    self._clock.tick()
    train, data = self._clock.train_secs, self._clock.data_secs
    seconds = train - self._mark[0], data - self._mark[1]
    about = {**self._times(), **self._health()}
    self._pending = (step, self._metrics, self._untimed, *seconds, about)
    self._metrics, self._untimed, self._mark = [], 0, (train, data)

  def flush(self, step: int) -> None:
    """Writes all rows up to this step."""
    if self._metrics:
      self.close_row(step)
    self._write()

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Writes a row of its own, of what was measured at this step."""
    self._file.write(**self._seen(step), **self._times(), **values)

  def _seen(self, step: int) -> dict[str, Any]:
    images = self._course.examples(step)
    epoch = round(images / self._course.train_examples, 4)
    return {"step": step, "images": images, "epoch": epoch}

  def _times(self) -> dict[str, Any]:
    """Seconds of training so far, over all restarts, and what the clock says."""
    train_secs = round(self._clock.train_secs, 2)
    return {"train_secs": train_secs, "time": round(time.time(), 2)}

  def _write(self) -> dict[str, Any] | None:
    if self._pending is None:
      return None
    step, metrics, untimed, train_secs, data_secs, about = self._pending
    self._pending = None
    fetched = jax.device_get(metrics)
    loss = sum(float(m["loss"]) for m in fetched) / len(fetched)
    if not math.isfinite(loss):
      raise FloatingPointError(
        f"the loss is {loss} between steps {step - len(fetched) + 1} and {step}"
      )
    timed = (len(fetched) - untimed) * self._course.at(step - 1).batch_size
    row = {
      **self._seen(step),
      "loss": loss,
      "train_top_1": sum(float(m["top_1"]) for m in fetched) / len(fetched),
      "lr": float(self._schedule(step - 1)),
      "images_per_s": round(timed / train_secs, 2) if timed and train_secs else None,
      "data_wait_share": round(data_secs / train_secs, 4) if train_secs else None,
      **about,
    }
    self._file.write(**row)
    self._show(row)
    return row

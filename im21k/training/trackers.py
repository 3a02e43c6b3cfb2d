"""Rows of metrics -> what TensorBoard and Weights & Biases read.

In come the rows of `metrics.jsonl`, as they are written. Out come event files in
`WORKDIR/tensorboard` and an offline run in `WORKDIR/wandb`. A run that is resumed
writes the rows that it has kept anew, in place of what it wrote before: what was lost
when it was killed is there again, and nothing is there twice.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from im21k import files, words
from im21k.training.outputs import CannotWrite, one_line, writing

_LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
_SUFFIX = ".im21k"  # of the event files that are replaced on resume
_NO_SERIES = ("step", "time")


class Tracker(Protocol):
  """Takes rows of metrics; each has a `step`, and is where it belongs on return."""

  def write(self, row: Mapping[str, Any]) -> None:
    """Adds the numbers of a row."""

  def close(self) -> None:
    """Ends the file or run; it can be opened anew."""


def check(names: Iterable[str]) -> None:
  """ValueError with the command to type if a tracker's library is not installed."""
  for name in names:
    if importlib.util.find_spec(_LIBRARIES[name]) is None:
      raise ValueError(
        f"trackers has {name}, which needs {_LIBRARIES[name]}: pip install "
        f"'im21k[{name}]'"
      )


def open_all(
  names: Iterable[str],
  workdir: Path,
  config: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
) -> list[Tracker]:
  """Trackers that hold these rows and no others, and take those that follow.

  Args:
    names: of `config.trackers`.
    workdir: work folder of the run.
    config: its nested keys, for those who show them.
    rows: of the metrics until now.

  Raises:
    CannotWrite: there is no room, or a library refuses.
  """
  makers: dict[str, Callable[[], Tracker]] = {
    "tensorboard": lambda: TensorBoard(workdir / "tensorboard"),
    "wandb": lambda: WeightsAndBiases(workdir, config),
  }
  with contextlib.ExitStack() as opened:
    made = []
    for name in names:
      tracker = makers[name]()
      opened.callback(tracker.close)
      for row in rows:
        tracker.write(row)
      made.append(tracker)
    opened.pop_all()
  return made


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
  """The numbers of a row by `train/KEY` or `eval/KEY`, so that charts are grouped.

  What rows of evaluations have beside scores, as epochs, those of training have too.
  """
  is_train = "loss" in row
  return {
    f"{'train' if is_train else 'eval'}/{key}": value
    for key, value in row.items()
    if key not in _NO_SERIES
    and type(value) in (int, float)
    and (is_train or key.startswith("eval_"))
  }


class TensorBoard:
  """One event file, which holds a row in an event; written before `write` returns."""

  def __init__(self, folder: Path):
    """Replaces the event file of before, and has a TensorBoard that is open forget it.

    tensorboardX's own SummaryWriter would write from a thread, which waits for ever
    once the disk is full.
    """
    from tensorboardX import event_file_writer
    from tensorboardX.proto import event_pb2

    self._folder, self._event = folder, event_pb2.Event
    with writing(folder):
      folder.mkdir(parents=True, exist_ok=True)
      for path in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
        path.unlink()
      self._file = event_file_writer.EventsWriter(str(folder / "events"), _SUFFIX)
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._file.write_event(event_pb2.Event(step=0, session_log=start))
      self._file.flush()

  def write(self, row: Mapping[str, Any]) -> None:
    """Adds the numbers of a row."""
    event = self._event(step=row["step"], wall_time=row.get("time") or time.time())
    for tag, value in numbers(row).items():
      event.summary.value.add(tag=tag, simple_value=value)
    with writing(self._folder):
      self._file.write_event(event)
      self._file.flush()

  def close(self) -> None:
    """Closes the file."""
    with writing(self._folder):
      self._file.close()


class WeightsAndBiases:
  """An offline run, to be sent by `wandb sync`; its id stays when it is resumed."""

  def __init__(self, workdir: Path, config: Mapping[str, Any]):
    """Replaces the offline run of before."""
    # Nothing is sent from here, not even what goes wrong.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    folder = workdir / "wandb"
    known = folder / "id"
    with writing(folder):
      folder.mkdir(parents=True, exist_ok=True)
      if not known.is_file():
        files.write_text(known, secrets.token_hex(4))
      run_id = known.read_text(encoding="utf-8").strip()
      for rest in folder.glob(f"offline-run-*-{run_id}"):
        shutil.rmtree(rest)
    # Beside the rows nothing is recorded, and nothing is printed into the log.
    settings = wandb.Settings(
      mode="offline", silent=True, console="off", save_code=False, disable_git=True,
      x_disable_stats=True,
    )  # fmt: skip
    try:
      self._run = wandb.init(
        project="im21k", id=run_id, name=words.visible(workdir.resolve().name),
        dir=str(workdir), config=dict(config), settings=settings,
      )  # fmt: skip
    except Exception as error:  # Of its own kinds.
      raise CannotWrite(f"{folder}: wandb cannot start: {one_line(error)}") from error

  def write(self, row: Mapping[str, Any]) -> None:
    """Adds the numbers of a row; a second row of a step joins the first."""
    when = {"_timestamp": row["time"]} if "time" in row else {}
    self._run.log({**numbers(row), **when}, step=row["step"])

  def close(self) -> None:
    """Ends the run on this side."""
    self._run.finish()

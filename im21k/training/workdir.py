"""The folder of a run: what it holds besides checkpoints.

In come the run as it is set up now, its state and scores. Out come config.json,
environment.json, parameters.tsv and, at the end, the weights.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from im21k import documents, files, parallel, synsets, weights, words
from im21k.training import (
  averages,
  environment,
  learning_curve,
  releases,
  resume,
  trackers,
)  # fmt: skip
from im21k.training.config import Config
from im21k.training.log import MetricsFile, last_scores, read_rows
from im21k.training.outputs import say, writing
from im21k.training.resume import HASHES, HISTORY, PARAMETERS, STEP
from im21k.training.setup import Setup

_METRICS = "metrics.jsonl"


class Workdir:
  """The work folder of one run.

  Attributes:
    path: the folder.
    run: what the run is now.
    leads: whether this host writes there; of several only the first does.
    history: `[step, key, old value, new value]` of each change on its way.
  """

  def __init__(self, path: Path, run: Setup):
    """Reads config.json, if there is one; writes nothing.

    Raises:
      ValueError: the folder holds a run that differs in a key that must not change, or
        config.json is damaged.
    """
    self.path, self.run, self.leads = path, run, parallel.host() == 0
    before = _read(path / "config.json")
    self.history = _history(path / "config.json", before)
    self._changes = resume.changes(path, before, run) if before else []
    # What was recorded stays, also of weights that are gone.
    self._hashes = {**before.get(HASHES, {}), **resume.hashes(run)}

  def is_finished(self, step: int | None) -> bool:
    """Whether the weights of the run's end are there; `step` is the last checkpoint's.

    A run that was lengthened since is not finished.
    """
    if step is None or step < self.run.total:
      return False
    document = _read(self.path / "weights" / weights.DOCUMENT).get("config", {})
    if not isinstance(document, dict):
      return False
    if STEP in document:
      return bool(document[STEP] == step)
    # Weights from before the step was recorded were exported at the end only.
    try:
      total = Config.from_dict(resume.keys_of(document)).total
    except ValueError:
      return False
    return self.run.course.steps(total) == step

  def announce(self, resumed: int | None) -> None:
    """Says which run this is, how long, and at which checkpoint's step it resumes."""
    run, course, trained = self.run, self.run.course, self.run.loader.count
    epochs = course.examples(run.total) / trained
    say(
      f"run {self.path}: {run.total} steps ({epochs:.4g} epochs) {course.summary} on "
      f"{environment.devices(run.devices)}"
    )
    for line in course.lines(run.total):
      say(line)
    own = sum(one.count for one in run.eval_sets if not one.name)
    say(f"photos: {trained:,} to train on, {own:,} held out")
    for one in run.eval_sets:
      if one.name:
        best = ", which best goes by" if one.is_main else ""
        say(
          f"eval_data {one.name}: {words.counted(one.count, 'photo')}{best}: split "
          f"{one.split} of {one.folder}"
        )
    if run.averaging:
      say(f"average of weights, which is scored and exported: {run.averaging.text}")
    if resumed is not None:
      say(f"resumed at step {resumed} from {self.path / 'checkpoints' / str(resumed)}")

  def begin(self, step: int, params: Any) -> None:
    """Records what the run is, from this step on, and announces what has changed."""
    self.history += [[step, *change] for change in self._changes]
    if not self.leads:
      return
    if self._changes:
      changes = "; ".join(f"{key} was {a}, is {b}" for key, a, b in self._changes)
      say(f"{self.path}: continues at step {step} with changes: {changes}")
    _write_json(self.path / "config.json", self.document())
    _write_json(self.path / "environment.json", environment.of(self.run.devices))
    _write_text(self.path / "parameters.tsv", _parameters(params))
    # The place that the config names may be gone when a checkpoint is exported.
    _write_text(self.path / weights.CLASSES, synsets.as_text(self.run.classes))

  def document(self) -> dict[str, Any]:
    """All keys with their resolved values, hashes of the data, and the history."""
    document = self.run.config.resolved().to_dict()
    return {**document, HASHES: self._hashes, HISTORY: self.history}

  def check_checkpoint(self, path: Path, run: dict[str, Any]) -> None:
    """ValueError if a checkpoint is of another run than this; `run` is its `about`."""
    resume.changes(path, run, self.run, "_CHECKPOINT_METADATA")

  def about(self, params: Any) -> dict[str, Any]:
    """What a checkpoint keeps of the run: keys, hashes, number of parameters."""
    count = sum(x.size for x in jax.tree.leaves(params))
    document = self.run.config.resolved().to_dict()
    return {**document, HASHES: self._hashes, PARAMETERS: count}

  def metrics(self, resume_step: int) -> MetricsFile:
    """The rows of metrics, without those past this step, open to be continued."""
    file = MetricsFile(self.path / _METRICS, resume_step, self.leads)
    if not self.leads:
      return file
    config = self.run.config
    with contextlib.ExitStack() as opened:
      opened.callback(file.close)
      file.trackers = trackers.open_all(
        config.trackers, self.path, config.resolved().to_dict(), file.rows
      )
      opened.pop_all()
    return file

  def draw(self, rows: list[dict[str, Any]]) -> None:
    """Draws the learning curve."""
    path = self.path / "learning_curve.png"
    if self.leads:
      with writing(path):
        learning_curve.draw(path, rows, self.run.config.reference)

  def release(
    self,
    step: int,
    whole: Any,
    scores: Mapping[str, Any] | None,
    rows: list[dict[str, Any]],
  ) -> None:
    """Writes the weights of a checkpoint to `latest/`, and to `best/` if they are that.

    Args:
      step: steps taken.
      whole: the state.
      scores: of this step, if it was evaluated.
      rows: of metrics, this step's among them.
    """
    if not self.leads:
      return
    variables = averages.variables(whole)
    is_best = self.run.config.keep_best and scores and releases.is_best(scores, rows)
    # At the end `weights/` takes the place of `latest/`.
    names = ["best"] * bool(is_best) + ["latest"] * (step < self.run.total)
    if names:
      released = self._released(step, variables)
      for name in names:
        releases.replace(self.path / name, released)

  def export(self, step: int, variables: Any) -> None:
    """Writes the weights of the run's end to `weights/`."""
    if not self.leads:
      return
    where = self.path / "weights"
    with writing(where):
      self._released(step, variables).save(where)
    releases.merge(self.path / "latest", where)
    best = weights.step_of(self.path / "best")
    better = f"; those of the best evaluation, at step {best}: {self.path / 'best'}"
    say(f"weights written to {where}{better if best not in (None, step) else ''}")
    say(f"next: im21k evaluate {self.path} PHOTOS, or im21k report {self.path}")

  def _released(self, step: int, variables: Any) -> weights.Weights:
    config = self.run.config
    return weights.Weights(
      model_name=config.model["name"],
      model_fields=config.model_fields(len(self.run.classes)),
      variables=jax.device_get(variables),
      input=self.run.input,
      classes=self.run.classes,
      scores=last_scores(read_rows(self.path / _METRICS)),
      config={**self.document(), STEP: step},
    )

  def result(self, step: int, stopped_by: str | None = None) -> dict[str, Any]:
    """What `train` returns after this step, which a signal may have made the last."""
    finished = step >= self.run.total
    stopped = {"stopped_by": stopped_by} if stopped_by and not finished else {}
    return {
      "step": step,
      "finished": finished,
      **last_scores(read_rows(self.path / _METRICS)),
      "weights": str(self.path / "weights") if finished else None,
      **stopped,
    }


def _read(path: Path) -> dict[str, Any]:
  """A JSON object; empty if there is no such file."""
  if not path.is_file():
    return {}
  document = documents.read(path)
  if not document:
    raise ValueError(f"{path} is damaged: it is empty")
  return document


def _history(path: Path, document: dict[str, Any]) -> list[list[Any]]:
  """The changes on the way of a run, as its config.json at `path` lists them."""
  history = document.get(HISTORY, [])
  if not isinstance(history, list) or not all(isinstance(c, list) for c in history):
    raise ValueError(f"{path} is damaged: {HISTORY} is no list of changes")
  return history


def _write_json(path: Path, document: dict[str, Any]) -> None:
  _write_text(path, json.dumps(document, indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
  with writing(path):
    files.write_text(path, text)


def _parameters(params: Any) -> str:
  """A line for each array: name, shape, type, size."""
  flat = jax.tree_util.tree_leaves_with_path(params)
  lines = [
    f"{jax.tree_util.keystr(key, simple=True, separator='/')}\t{value.shape}\t"
    f"{value.dtype}\t{value.size:,}"
    for key, value in flat
  ]
  lines.append(f"total\t\t\t{sum(value.size for _, value in flat):,}")
  return "\n".join(lines) + "\n"

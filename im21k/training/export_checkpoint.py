"""The command `export-checkpoint`: a checkpoint of a run -> a release folder.

In come a work folder and a step. Out come weights as a run writes them at its end;
nothing in the work folder changes, so a run may be training there meanwhile.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax

from im21k import documents, synsets, targets, weights
from im21k.training import averages, resume, seal
from im21k.training import step as steps
from im21k.training.checkpoint import Checkpoints
from im21k.training.clock import Clock
from im21k.training.config import Config
from im21k.training.log import last_scores, read_rows

_ANY = 1_000_000  # Photos an epoch, on which no shape depends.


def export_checkpoint(
  workdir: Path, out: Path, *, step: str = "latest", raw: bool = False
) -> dict[str, Any]:
  """Writes the weights of a checkpoint as a release folder, also during the run.

  Needs neither the photos nor the devices of the run.

  Args:
    workdir: Work folder of the run.
    out: Release folder to write.
    step: latest, best (by top-1 on held-out photos) or the step of a checkpoint.
    raw: Write the weights of that step itself, where the run averages weights.

  Returns:
    `weights`: the release folder; `step`: of the checkpoint; the `train_top_1` and
    `eval_top_1` that the run had measured until then (None: not).

  Raises:
    FileNotFoundError: workdir holds no run, or has no complete checkpoint yet.
    ValueError: there is no such checkpoint, it is damaged, or out is where the run
      reads or writes.
  """
  targets.check_folder([workdir], out=out)
  real = Path(os.path.realpath(out))
  for name in ("checkpoints", "weights", "best", "latest"):
    if real.is_relative_to(os.path.realpath(workdir / name)):
      raise ValueError(f"out is {out}, where the run writes: name another folder")
  path = workdir / "config.json"
  if not path.is_file():
    raise FileNotFoundError(f"{path} does not exist: {workdir} holds no run")
  recorded = documents.read(path)
  checkpoints = Checkpoints(workdir / "checkpoints")
  chosen = _chosen(checkpoints, workdir, step)
  config = Config.from_dict(resume.keys_of(recorded))
  classes = _classes(config, workdir, recorded)
  state, _, _ = checkpoints.read(
    chosen,
    _shapes(config, len(classes)),
    {"example": 0},
    Clock().state(),
    jax.devices()[:1],
  )
  rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["step"] <= chosen]
  scores = last_scores(rows)
  history = [one for one in recorded.get(resume.HISTORY, []) if one[0] <= chosen]
  weights.Weights(
    model_name=config.model["name"],
    model_fields=config.model_fields(len(classes)),
    variables=jax.device_get(averages.variables(state, raw)),
    input=config.make_input(),
    classes=classes,
    scores=scores,
    config={**recorded, resume.HISTORY: history, resume.STEP: chosen},
  ).save(out)
  return {"weights": str(out), "step": chosen, **scores}


def text(result: dict[str, Any]) -> str:
  """The result of `export-checkpoint` for people."""
  return f"weights of step {result['step']:,}: {result['weights']}"


def _chosen(checkpoints: Checkpoints, workdir: Path, step: str) -> int:
  """The step of the checkpoint that is meant."""
  there = checkpoints.steps()
  if not there:
    raise FileNotFoundError(f"{workdir} has no complete checkpoint yet")
  if step == "latest":
    return there[-1]
  if step == "best":
    sealed = {one: seal.read(workdir / "checkpoints" / str(one)) for one in there}
    scores = {
      one: body["scores"]["top_1"]
      for one, body in sealed.items()
      if body and body["scores"]
    }
    if not scores:
      raise ValueError(f"no checkpoint in {workdir} was evaluated: take --step latest")
    return max(scores, key=lambda one: (scores[one], one))
  if step not in map(str, there):
    raise ValueError(
      f"step is {step}, but the checkpoints of {workdir} are those of "
      f"{', '.join(map(str, there))}; latest and best are names of these"
    )
  return int(step)


def _classes(
  config: Config, workdir: Path, recorded: dict[str, Any]
) -> synsets.ClassList:
  """The class list of the run; the copy in the work folder, if its place is gone."""
  try:
    classes = synsets.get(config.classes)
  except (OSError, ValueError):
    copy = workdir / weights.CLASSES
    if not copy.is_file():
      raise
    name = Path(config.classes).name
    classes = dataclasses.replace(synsets.from_file(copy), name=name)
  known = recorded.get(resume.HASHES, {}).get("classes", classes.fingerprint)
  if known != classes.fingerprint:
    raise ValueError(
      f"classes is {config.classes} with hash {classes.fingerprint}, but the run has "
      f"classes with hash {known}: restore that list"
    )
  return classes


def _shapes(config: Config, outputs: int) -> steps.TrainState:
  """The shapes of the state as checkpoints keep it."""
  model, optimizer = config.make_model(outputs), config.make_optimizer()
  averaging = config.make_averaging(_ANY)
  shapes: steps.TrainState = jax.eval_shape(
    lambda: steps.init(model, optimizer, config.image_size, 0, averaging)
  )
  return shapes

"""The key `recalibrate`: what a run exports gets BatchNorm statistics of many photos.

In come the variables of the run's end. Out come the same with new statistics, and a row
of metrics with their scores.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from im21k import parallel, words
from im21k.evaluation import batch_statistics, inputs, results
from im21k.loading.scoring import ScoreLoader
from im21k.training import eval_sets
from im21k.training.log import StepLog
from im21k.training.outputs import say
from im21k.training.progress import Progress
from im21k.training.setup import Setup

ROW = "recalibrated"  # Of a row with scores: the photos that the statistics are of.


def finish(
  run: Setup,
  variables: Any,
  step: int,
  rows: Sequence[Mapping[str, Any]],
  log: StepLog,
  progress: Progress,
) -> Any:
  """What a run exports of its last step's variables; writes a row if they change.

  Args:
    run: the run.
    variables: of its last step.
    step: that step.
    rows: of metrics until now.
    log: for the row.
    progress: for what is said.
  """
  if not run.config.recalibrate:
    return variables
  variables, used = recalibrated(run, variables)
  if run.eval_sets and not _is_scored(rows, step, used):
    row = eval_sets.evaluate(run.eval_sets, variables, progress, step)
    log.write(step, {**row, ROW: used})
  return variables


def recalibrated(run: Setup, variables: Any) -> tuple[Any, int]:
  """Variables with statistics of the first training photos, and how many these were.

  The photos are prepared as in use, in batches as in training: what `im21k recalibrate`
  makes of the same weights, with a batch of this size on as many devices.

  Raises:
    ValueError: too few photos can be read.
  """
  config = run.config
  # As BatchNorm sees them in training, where each host has its share.
  batch = config.batch_size // config.accumulate // parallel.hosts()
  wanted = min(config.recalibrate or 0, run.loader.count)
  loader = ScoreLoader(
    inputs.open_photos(Path(config.data), "train"),
    run.classes,
    batch_size=batch,
    devices=len(run.devices),
    image_size=run.input.size,
    short_side=run.input.short_side,
    threads=config.threads,
  )
  batches = wanted // batch
  used = batches * batch
  say(f"recalibrating BatchNorm on {words.counted(used, 'training photo')} …")
  with parallel.alone():  # On each of several hosts the same.
    found = batch_statistics.estimate(
      run.model, run.input, variables, loader, batches, run.devices
    )
  if not found.used:
    raise ValueError(
      f"recalibrate is {config.recalibrate}, but the training photos that can be read "
      f"make no whole batch of {batch}{results.first_of(found.bad)}"
    )
  bad = f", {len(found.bad):,} unreadable" if found.bad else ""
  say(f"recalibrated on {words.counted(found.used, 'training photo')}{bad}")
  return {**variables, "batch_stats": found.stats}, found.used


def _is_scored(rows: Sequence[Mapping[str, Any]], step: int, used: int) -> bool:
  """Whether the newest row with scores is that of these statistics.

  It is where a run was killed between that row and its export.
  """
  scored = [row for row in rows if "eval_top_1" in row]
  return bool(scored and scored[-1].get(ROW) == used and scored[-1]["step"] == step)

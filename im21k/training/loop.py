"""The training run: packed photos in, weights and a learning curve out.

A run is a work folder. Started again with the same folder it continues from the last
checkpoint, and ends in the same bits as a run that was never stopped.
"""

import contextlib
import gc
from pathlib import Path
from typing import Any

import jax

from im21k import lock, machine, parallel
from im21k.hosts import session
from im21k.training import (
  begun,
  eval_sets,
  outputs,
  recalibration,
  remedies,
  trackers,
  unison,
)
from im21k.training.checkpoint import Checkpoints
from im21k.training.clock import Clock
from im21k.training.config import Config
from im21k.training.course import Every
from im21k.training.joint import Joint
from im21k.training.log import MetricsFile, StepLog
from im21k.training.outputs import say
from im21k.training.profiling import Profiler
from im21k.training.progress import Progress
from im21k.training.setup import Setup, prepare
from im21k.training.signals import StopSignals
from im21k.training.workdir import Workdir


def train(config: Config, workdir: Path, profile: bool = False) -> dict[str, Any]:
  """Trains to the end, or until SIGTERM or SIGINT, after which it can be resumed.

  Args:
    config: the run.
    workdir: for config.json, environment.json, parameters.tsv, metrics.jsonl,
      learning_curve.png, checkpoints/, best/, latest/ and, at the end, weights/.
    profile: write a trace of five steps into workdir/profile, for xprof or perfetto.

  Returns:
    `step`, `finished`, the last `train_top_1` and `eval_top_1`, and `weights`: the
    folder that holds them; after a signal also `stopped_by`, its name.

  Raises:
    ValueError: a setting is wrong, workdir holds a run with other settings, or all of
      its checkpoints are damaged.
    lock.Held: another process trains there.
    CannotWrite: a file cannot be written; the run can be resumed.
    FloatingPointError: the loss is no longer finite.
    MemoryError: device or machine have too little memory for the run.
  """
  with remedies.memory_in_errors():
    return _train(config, workdir, profile)


def _train(config: Config, workdir: Path, profile: bool) -> dict[str, Any]:
  watch = session.current()
  with outputs.silent(parallel.host() > 0):
    if watch:
      unison.check_begin(watch, config, workdir)
    return _on_this_host(config, workdir, profile and parallel.host() == 0)


def _on_this_host(config: Config, workdir: Path, profile: bool) -> dict[str, Any]:
  checkpoints = Checkpoints(
    workdir / "checkpoints",
    config.keep_latest,
    config.keep_best,
    saved=lambda step: say(f"checkpoint saved at step {step}"),
  )
  latest = checkpoints.latest
  trackers.check(config.trackers)
  run = prepare(begun.of_run(config, workdir), begun=latest is not None)
  folder = Workdir(workdir, run)
  unison.check_run(run, latest)
  if latest is not None and folder.is_finished(latest):  # Nothing on disk changes.
    return folder.result(latest)
  with lock.hold(workdir, "training") if folder.leads else contextlib.nullcontext():
    folder = Workdir(workdir, run)  # Another may just have trained there.
    with (
      checkpoints,
      remedies.last_checkpoint_in_errors(checkpoints),
      Profiler(workdir / "profile" if profile else None) as profiler,
      StopSignals() as signals,
    ):
      step = _run(run, folder, checkpoints, signals, profiler)
    gc.collect()  # Else Python reports the last batch as leaked memory at its exit.
    unison.meet("the end of the run")  # What the first host has written.
    return folder.result(step, None if parallel.hosts() > 1 else signals.received)


def _run(
  run: Setup,
  folder: Workdir,
  checkpoints: Checkpoints,
  signals: StopSignals,
  profiler: Profiler,
) -> int:
  """The loop: evaluate, save, next batch, step, log. Returns the last step."""
  restored = unison.restore(run, folder, checkpoints)
  resumed = restored is not None
  folder.announce(int(restored[0].step) if restored else None)
  state, position, seconds = restored or (run.init(), {"example": 0}, Clock().state())
  unison.check_state(state, checkpoints)
  about = folder.about(state.params)
  start = step = int(state.step)
  folder.begin(step, state.params)
  take_step, axes = run.make_step(state)
  state = run.place(state, axes)
  clock = Clock(seconds)

  def due(every: Every) -> bool:
    return every.due(step) or step >= run.total

  with (
    contextlib.closing(run.batches(position["example"])) as batches,
    contextlib.closing(folder.metrics(step if resumed else -1)) as metrics,
    contextlib.closing(_progress(run, step)) as progress,
  ):
    joint = Joint(signals, batches, run.devices, session.current())
    log = _step_log(run, metrics, clock, joint, progress)
    while True:
      scores = None
      if run.eval_sets and due(run.eval_every) and (step > start or not resumed):
        log.flush(step)
        with clock.pause("eval"):
          scores = _evaluate(run, state, log, step, progress)
          folder.draw(metrics.rows)
      if step > start and (scores or due(run.save_every) or joint.stop):
        log.flush(step)
        with clock.pause("save"):
          position = {"example": batches.position}
          whole = run.whole(state)
          # Before the checkpoint: what is resumed has written them, or does it again.
          folder.release(step, whole, scores, metrics.rows)
          if folder.leads:
            checkpoints.save(step, whole, position, clock.state(), scores, about)
      if step >= run.total or joint.stop:
        break
      profiler.before_step(step - start)
      compiles = step == start or run.course.begins(step)
      if compiles:
        log.flush(step)  # No row is of two sizes.
        log.pause()
      with clock.waiting(), remedies.dead_workers_in_errors():
        batch = joint.send(next(batches))
      if not compiles:
        state, measured = take_step(state, batch)
      else:
        with clock.pause("compile"), progress.compiling(step):
          state, measured = jax.block_until_ready(take_step(state, batch))
      step += 1
      progress.step()
      checkpoints.notice()
      log.add(joint.took(step, measured))
      if due(run.log_every):
        log.close_row(step)
    log.flush(step)
    if step >= run.total:
      variables, rows = run.variables(state), metrics.rows
      with clock.pause("eval"):
        variables = recalibration.finish(run, variables, step, rows, log, progress)
    folder.draw(metrics.rows)
    if step >= run.total:
      folder.export(step, variables)
  return step


def _progress(run: Setup, step: int) -> Progress:
  every = run.eval_every if run.eval_sets else None
  return Progress(run.total, step, run.course, every)


def _evaluate(
  run: Setup, state: Any, log: StepLog, step: int, progress: Progress
) -> dict[str, Any]:
  """Scores on all held-out photos become a row; returns those that best goes by."""
  row = eval_sets.evaluate(run.eval_sets, run.variables(state), progress, step)
  log.write(step, row)
  return eval_sets.of_main(row)


def _step_log(
  run: Setup,
  metrics: MetricsFile,
  clock: Clock,
  joint: Joint,
  progress: Progress,
) -> StepLog:
  return StepLog(
    metrics,
    clock,
    course=run.course,
    schedule=run.schedule,
    health=lambda: _health(run, joint),
    show=progress.row,
  )


def _health(run: Setup, joint: Joint) -> dict[str, Any]:
  """What a row holds besides the metrics of its steps."""
  health: dict[str, Any] = {"bad_photos": len(joint.bad)}
  health["peak_host_mib"] = round(machine.peak_memory() / 2**20, 1)
  memory = run.devices[0].memory_stats()
  if memory and "peak_bytes_in_use" in memory:
    health["peak_device_mib"] = round(memory["peak_bytes_in_use"] / 2**20, 1)
  return health

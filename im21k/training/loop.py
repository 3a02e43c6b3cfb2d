"""The training run: packed photos in, weights and a learning curve out.

A run is a work folder. Started again with the same folder it goes on from the last
checkpoint, and ends in the same bits as a run that was never stopped.
"""

import contextlib
import dataclasses
import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from im21k import files, parallel, synsets
from im21k.evaluation import inputs, score
from im21k.loading.train import TrainLoader
from im21k.photos.crops import usual_short_side
from im21k.training import optim, split_head
from im21k.training import step as steps
from im21k.training.checkpoint import Checkpoints
from im21k.training.config import Config
from im21k.training.log import (
  Clock,
  MetricsFile,
  draw_learning_curve,
  environment,
)
from im21k.weights import Input, Weights


def train(config: Config, workdir: Path, profile: bool = False) -> dict[str, Any]:
  """Trains to the end, or until SIGTERM or SIGINT, after which it can go on.

  Args:
    config: the run.
    workdir: for config.json, environment.json, parameters.tsv, metrics.jsonl,
      learning_curve.png, checkpoints/ and, at the end, weights/.
    profile: write a trace of five steps into workdir/profile, for xprof or perfetto.

  Returns:
    `step`, `finished`, the last `train_top_1` and `eval_top_1`, and `weights`: where
    they lie.

  Raises:
    ValueError: a setting is wrong, or workdir holds a run with other settings.
    FloatingPointError: the loss is no longer finite.
  """
  with (
    contextlib.closing(_Run(config, workdir)) as run,
    _Signals() as signals,
    contextlib.ExitStack() as trace,
  ):
    start = run.step
    while True:
      if run.step > start:
        scores = run.evaluate() if run.due(run.eval_every) else None
        if scores or run.due(run.save_every) or signals.stop:
          run.save(scores)
      if run.step == run.total or signals.stop:
        break
      if run.step == start + 3 and profile:
        folder = str(workdir / "profile")
        trace.enter_context(jax.profiler.trace(folder, create_perfetto_trace=True))
      elif run.step == start + 8:
        trace.close()
      run.take_step()
    return run.finish()


class _Run:
  """A run between two steps."""

  def __init__(self, config: Config, workdir: Path):
    self.config, self.workdir = config, workdir
    self.devices = parallel.devices(config.devices)
    self.classes = synsets.get(config.classes)
    short_side = config.short_side or usual_short_side(config.image_size)
    self.input = Input(config.image_size, short_side, config.mean, config.std)
    shape: dict[str, Any] = {
      "batch_size": config.batch_size,
      "devices": config.devices,
      "image_size": config.image_size,
      "short_side": short_side,
      "classes": self.classes,
      "threads": config.threads,
    }
    folder = Path(config.data)
    self.loader = TrainLoader(
      folder, seed=config.seed, workers=config.workers, **config.augment, **shape
    )
    held_out = "eval" in self.loader.manifest.splits

    self.total, self.log_every, self.eval_every, self.save_every = (
      config.steps(name, self.loader.count)
      for name in ("total", "log_every", "eval_every", "save_every")
    )
    self.schedule = config.make_schedule(self.loader.count)
    optimizer = optim.sgd(self.schedule, **config.optimizer)
    self.model = config.make_model(len(self.classes))

    state = steps.init(self.model, optimizer, config.image_size, config.seed)
    self._keep_config(state.params)
    self.clock, position = Clock(), {"example": 0}
    self.checkpoints = Checkpoints(
      workdir / "checkpoints", config.keep_latest, config.keep_best
    )
    restored = self.checkpoints.restore(
      state, position, self.clock.state(), self.devices
    )
    if restored:
      state, position, clock = restored
      self.clock.restore(clock)
    self._train, axes = config.make_step(self.model, optimizer, state, self.devices)
    if config.split_head:
      state = split_head.split(state, config.devices)
    self.state = parallel.place(state, self.devices, axes)
    self.step = int(self.state.step)
    self.batches = self.loader.iter_from(
      position["example"], parallel.divided(self.devices)
    )

    self._score = (
      score.Scorer(
        self.model,
        self.input,
        self.classes,
        inputs.open_photos(folder, "eval"),
        devices=self.devices,
        batch_size=config.batch_size,
        threads=config.threads,
      )
      if held_out
      else None
    )
    self.metrics = MetricsFile(workdir / "metrics.jsonl", self.step)
    self._measured: list[dict] = []  # metrics of steps since the last row, on device
    self._ready: tuple[int, list[dict], float, float] | None = None
    self._compiled = False
    self._mark = (self.clock.train_secs, self.clock.data_secs)
    self._progress = tqdm(
      total=self.total, initial=self.step, desc="train", unit=" steps", disable=None
    )

  def due(self, every: int) -> bool:
    """Whether something done every so many steps is to be done now."""
    return self.step % every == 0 or self.step == self.total

  def take_step(self) -> None:
    """Next batch, step, and the row of metrics that is one step old."""
    with self.clock.waiting():
      batch = next(self.batches)
    if self._compiled:
      self.state, metrics = self._train(self.state, batch)
    else:
      with self.clock.pause():
        self.state, metrics = jax.block_until_ready(self._train(self.state, batch))
      self._compiled = True
    self.step += 1
    self._measured.append(metrics)
    self._progress.update()
    self._write_row()
    if self.due(self.log_every):
      self._close_row()

  def evaluate(self) -> dict[str, float] | None:
    """Scores on the held-out photos; None if there are none."""
    if self._score is None:
      return None
    self.flush()
    with self.clock.pause():
      row = self._score(self._variables()).rows()[0]
      scores = {name: row[name] for name in ("loss", "top_1", "top_5", "top_20")}
      scores["count"] = row["images"]
      self.metrics.write(
        step=self.step,
        images=self.step * self.config.batch_size,
        **{f"eval_{name}": value for name, value in scores.items()},
      )
      self.draw()
    return scores

  def save(self, scores: dict[str, float] | None) -> None:
    """Starts a checkpoint; rows of metrics up to here are on disk before it is."""
    self.flush()
    with self.clock.pause():
      self.checkpoints.save(
        self.step,
        self._whole(self.state),
        {"example": self.batches.position},
        self.clock.state(),
        scores,
      )

  def flush(self) -> None:
    """Writes the rows of metrics up to this step."""
    if self._measured:
      self._close_row()
    self._write_row()

  def draw(self) -> None:
    """Draws the learning curve."""
    draw_learning_curve(
      self.workdir / "learning_curve.png", self.metrics.rows, self.config.reference
    )

  def close(self) -> None:
    """Waits until what was begun is written."""
    self.batches.close()
    self._progress.close()
    self.metrics.close()
    self.checkpoints.close()

  def finish(self) -> dict[str, Any]:
    """Ends the run: the last picture, and the weights if it is complete."""
    self.flush()
    self.draw()
    scores = {
      name: next((r[name] for r in reversed(self.metrics.rows) if name in r), None)
      for name in ("train_top_1", "eval_top_1")
    }
    finished = self.step == self.total
    if finished:
      Weights(
        model_name=self.config.model["name"],
        model_fields=self.config.model_fields(len(self.classes)),
        variables=jax.device_get(self._variables()),
        input=self.input,
        classes=self.classes,
        scores=scores,
        config=dataclasses.asdict(self.config),
      ).save(self.workdir / "weights")
    return {
      "step": self.step,
      "finished": finished,
      **scores,
      "weights": str(self.workdir / "weights") if finished else None,
    }

  def _whole(self, state: Any) -> Any:
    """The state in its usual form."""
    if self.config.split_head:
      return split_head.join(state, self.model.num_classes)
    return state

  def _variables(self) -> dict[str, Any]:
    state = self.state
    return self._whole({"params": state.params, "batch_stats": state.batch_stats})

  def _close_row(self) -> None:
    """Sets a row aside, to be written when the next step is under way."""
    self.clock.tick()
    train, data = self.clock.train_secs, self.clock.data_secs
    self._ready = (
      self.step,
      self._measured,
      train - self._mark[0],
      data - self._mark[1],
    )
    self._measured, self._mark = [], (train, data)

  def _write_row(self) -> None:
    if self._ready is None:
      return
    step, measured, train_secs, data_secs = self._ready
    self._ready = None
    fetched = jax.device_get(measured)
    loss = sum(float(m["loss"]) for m in fetched) / len(fetched)
    if not math.isfinite(loss):
      raise FloatingPointError(
        f"the loss is {loss} between steps {step - len(fetched) + 1} and {step}; the "
        f"last checkpoint is that of step {max(self.checkpoints.steps(), default=0)}: "
        "lower the learning rate, or look at the data that were read there"
      )
    examples = len(fetched) * self.config.batch_size
    row = {
      "step": step,
      "images": step * self.config.batch_size,
      "epoch": round(step * self.config.batch_size / self.loader.count, 4),
      "loss": loss,
      "train_top_1": sum(float(m["top_1"]) for m in fetched) / len(fetched),
      "lr": float(self.schedule(step - 1)),
      "images_per_s": round(examples / train_secs, 2) if train_secs else None,
      "data_wait_share": round(data_secs / train_secs, 4) if train_secs else None,
      "bad_photos": len(self.batches.bad),
    }
    memory = self.devices[0].memory_stats()
    if memory and "peak_bytes_in_use" in memory:
      row["peak_device_mib"] = round(memory["peak_bytes_in_use"] / 2**20, 1)
    self.metrics.write(**row)
    self._progress.set_postfix(
      loss=f"{loss:.3f}",
      top_1=f"{row['train_top_1']:.1%}",
      images_per_s=row["images_per_s"],
    )

  def _keep_config(self, params: Any) -> None:
    """Writes what the run is, or checks that the folder holds this very run."""
    path = self.workdir / "config.json"
    document = json.loads(json.dumps(dataclasses.asdict(self.config)))
    if path.exists():
      before = json.loads(path.read_text(encoding="utf-8"))
      # What a run from before a key was there did is what is done without it.
      before = {**_DEFAULTS, **before}
      changed = [key for key in _FIXED if before.get(key) != document[key]]
      if changed:
        raise ValueError(
          f"{self.workdir} holds a run with other settings: "
          + "; ".join(f"{k} was {before.get(k)}, is {document[k]}" for k in changed)
          + ". Take another workdir, or the old settings"
        )
    files.write_text(path, json.dumps(document, indent=1) + "\n")
    about = json.dumps(environment(self.devices), indent=1)
    files.write_text(self.workdir / "environment.json", about + "\n")
    flat = jax.tree_util.tree_leaves_with_path(params)
    lines = [
      f"{jax.tree_util.keystr(key, simple=True, separator='/')}\t{value.shape}\t"
      f"{value.dtype}\t{value.size:,}"
      for key, value in flat
    ]
    lines.append(f"total\t\t\t{sum(value.size for _, value in flat):,}")
    files.write_text(self.workdir / "parameters.tsv", "\n".join(lines) + "\n")


# What a run cannot change on its way; the rest (devices, threads, how often something
# is done, how long) it can.
_FIXED = (
  "wire_dtype",
  "model",
  "classes",
  "batch_size",
  "image_size",
  "mean",
  "std",
  "seed",
  "augment",
  "mix",
  "loss",
  "optimizer",
)
_DEFAULTS: dict[str, Any] = {"wire_dtype": "float32", "mix": {}, "loss": {}}


class _Signals:
  """SIGTERM and SIGINT ask for an end after the step under way; twice kills."""

  def __init__(self) -> None:
    self.stop = False

  def __enter__(self) -> "_Signals":
    self._before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    for number in self._before:
      signal.signal(number, self._receive)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _receive(self, number: int, _: object) -> None:
    print(f"{signal.Signals(number).name}: saving, then stopping", file=sys.stderr)
    self.stop = True
    signal.signal(number, self._before[signal.Signals(number)])

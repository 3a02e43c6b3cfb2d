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
import optax
from flax import linen as nn
from tqdm import tqdm

from im21k import files, models, synsets
from im21k.data import EvalLoader, TrainLoader
from im21k.data.augment import usual_short_side
from im21k.models.registry import nearest
from im21k.training import optim, parallel
from im21k.training import step as steps
from im21k.training.checkpoint import Checkpoints
from im21k.training.metrics import Clock, MetricsFile, draw_learning_curve
from im21k.weights import Input, Weights

Duration = dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """All that defines a run; the keys of a file in `experiments/configs`.

  Durations are dicts of one unit: `{"steps": 100}`, `{"epochs": 2}` or
  `{"examples": 1e6}`.

  Attributes:
    data: folder written by `im21k pack`.
    classes: class list that the labels must index.
    model: `name` and fields of `models.create`; num_classes is the list's length
      unless it is given, bn_axis_name follows from sync_bn.
    total: duration of the training.
    batch_size: examples a step, over all devices.
    schedule: `name` stepwise with `rates` and `until` (durations of the changes in one
      unit: `{"epochs": [4, 6, 8]}`), or cosine with `peak` and `warmup` (a duration).
    optimizer: arguments of `optim.sgd`: momentum, weight_decay, decay.
    augment: arguments of `TrainLoader`: crop, mirror.
    image_size: side of the model's input, pixels.
    short_side: of the photo that crops are cut from; None: image_size · 256 / 224.
    mean, std: of the normalisation, on the scale 0–255.
    devices: how many take part.
    sync_bn: BatchNorm's statistics over all devices instead of each device's own.
    seed: of parameters, order and augmentation.
    threads: for reading; None: two a core.
    log_every: duration between rows of metrics.
    eval_every: duration between evaluations on the held-out photos, if there are any.
    save_every: duration between checkpoints.
    keep_latest, keep_best: checkpoints to keep.
    reference: marks for the learning curve: see `draw_learning_curve`.
  """

  data: str
  total: Duration
  model: dict[str, Any]
  schedule: dict[str, Any]
  batch_size: int
  classes: str = "imagenet21k"
  optimizer: dict[str, Any] = dataclasses.field(default_factory=dict)
  augment: dict[str, Any] = dataclasses.field(default_factory=dict)
  image_size: int = 224
  short_side: int | None = None
  mean: Any = 117.0
  std: Any = 1.0
  devices: int = 4
  sync_bn: bool = False
  seed: int = 0
  threads: int | None = None
  log_every: Duration = dataclasses.field(default_factory=lambda: {"steps": 50})
  eval_every: Duration = dataclasses.field(default_factory=lambda: {"epochs": 1})
  save_every: Duration = dataclasses.field(default_factory=lambda: {"epochs": 0.25})
  keep_latest: int = 2
  keep_best: int = 1
  reference: dict[str, Any] | None = None

  @classmethod
  def from_dict(cls, keys: dict[str, Any]) -> "Config":
    """ValueError names an unknown key with its nearest, or what is missing."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in keys:
      if key not in fields:
        raise ValueError(
          f"no config key is called {key!r}{nearest(key, tuple(fields))}"
        )
    required = [n for n in ("data", "total", "model", "schedule", "batch_size")]
    missing = [name for name in required if name not in keys]
    if missing:
      raise ValueError(f"the config lacks {', '.join(missing)}")
    return cls(**keys)


def train(config: Config, workdir: Path) -> dict[str, Any]:
  """Trains to the end, or until SIGTERM or SIGINT, after which it can go on.

  Args:
    config: the run.
    workdir: for config.json, parameters.tsv, metrics.jsonl, learning_curve.png,
      checkpoints/ and, at the end, weights/.

  Returns:
    `step`, `finished`, the last `train_top_1` and `eval_top_1`, and `weights`: where
    they lie.

  Raises:
    ValueError: a setting is wrong, or workdir holds a run with other settings.
    FloatingPointError: the loss is no longer finite.
  """
  with contextlib.closing(_Run(config, workdir)) as run, _Signals() as signals:
    start = run.step
    while True:
      if run.step > start:
        scores = run.evaluate() if run.due(run.eval_every) else None
        if scores or run.due(run.save_every) or signals.stop:
          run.save(scores)
      if run.step == run.total or signals.stop:
        break
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
    self.loader = TrainLoader(folder, seed=config.seed, **config.augment, **shape)
    held_out = "eval" in self.loader.manifest.splits
    self.eval_loader = EvalLoader(folder, **shape) if held_out else None

    self.total = self._steps("total", config.total)
    self.log_every = self._steps("log_every", config.log_every)
    self.eval_every = self._steps("eval_every", config.eval_every)
    self.save_every = self._steps("save_every", config.save_every)
    self.schedule = self._schedule()
    optimizer = optim.sgd(self.schedule, **config.optimizer)
    self.model, self.model_fields = _model(config, len(self.classes))

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
    self.state = jax.device_put(state, parallel.replicated(self.devices))
    self.step = int(self.state.step)
    self.batches = self.loader.iter_from(position["example"])

    mean, std = config.mean, config.std
    self._train = parallel.train_step(
      steps.train_step(self.model, optimizer, mean, std), self.devices
    )
    self._eval = parallel.eval_step(
      steps.eval_step(self.model, mean, std, {"all": None}), self.devices
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
    if self.eval_loader is None:
      return None
    self.flush()
    with self.clock.pause():
      scores = evaluate(
        self._eval,
        {"params": self.state.params, "batch_stats": self.state.batch_stats},
        self.eval_loader,
      )["all"]
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
        self.state,
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
      variables = {"params": self.state.params, "batch_stats": self.state.batch_stats}
      Weights(
        model_name=self.config.model["name"],
        model_fields=self.model_fields,
        variables=jax.device_get(variables),
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

  def _steps(self, name: str, duration: Duration) -> int:
    return optim.steps_in(name, duration, self.config.batch_size, self.loader.count)

  def _schedule(self) -> optax.Schedule:
    schedule = dict(self.config.schedule)
    name = schedule.pop("name", None)
    if name == "stepwise":
      (unit, ends), *more = schedule["until"].items()
      if more:
        raise ValueError("schedule.until must have one unit")
      until = [self._steps("schedule.until", {unit: end}) for end in ends]
      return optim.stepwise(list(schedule["rates"]), until)
    if name == "cosine":
      warmup = self._steps("schedule.warmup", schedule["warmup"])
      return optim.cosine(schedule["peak"], warmup, self.total)
    raise ValueError(
      f"no schedule is called {name!r}{nearest(str(name), optim.SCHEDULES)}"
    )

  def _keep_config(self, params: Any) -> None:
    """Writes what the run is, or checks that the folder holds this very run."""
    path = self.workdir / "config.json"
    document = json.loads(json.dumps(dataclasses.asdict(self.config)))
    if path.exists():
      before = json.loads(path.read_text(encoding="utf-8"))
      changed = [key for key in _FIXED if before.get(key) != document[key]]
      if changed:
        raise ValueError(
          f"{self.workdir} holds a run with other settings: "
          + "; ".join(f"{k} was {before.get(k)}, is {document[k]}" for k in changed)
          + ". Take another workdir, or the old settings"
        )
    files.write_text(path, json.dumps(document, indent=1) + "\n")
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
  "model",
  "classes",
  "batch_size",
  "image_size",
  "mean",
  "std",
  "seed",
  "augment",
  "optimizer",
)


def evaluate(
  step: Any, variables: Any, loader: EvalLoader
) -> dict[str, dict[str, float]]:
  """Runs a mapped `steps.eval_step` over a loader: one division at the very end.

  Returns:
    For each subset `count`, and the means `loss`, `top_1`, `top_5`, `top_20`.
  """
  totals: dict[str, dict[str, float]] = {}
  for batch in tqdm(loader, desc="evaluate", unit=" batches", disable=None):
    for subset, sums in jax.device_get(step(variables, batch)).items():
      total = totals.setdefault(subset, dict.fromkeys(sums, 0.0))
      for name, value in sums.items():
        total[name] += float(value)
  return {
    subset: {
      name: value if name == "count" else value / total["count"]
      for name, value in total.items()
    }
    for subset, total in totals.items()
    if total["count"]
  }


def _model(config: Config, num_classes: int) -> tuple[nn.Module, dict[str, Any]]:
  """The model, and the fields with which others can make it again."""
  fields = {"num_classes": num_classes, **config.model}
  name = fields.pop("name")
  axis = parallel.AXIS if config.sync_bn else None
  return models.create(name, bn_axis_name=axis, **fields), fields


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

"""A config -> the parts of a run; nothing is written, trained or compiled yet."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import optax
from flax import linen as nn

from im21k import parallel, synsets, words
from im21k.loading.train import TrainLoader
from im21k.training import (
  accumulation,
  averages,
  eval_sets,
  keys,
  policies,
  split_head,
  start,
)  # fmt: skip
from im21k.training import course as courses
from im21k.training import step as steps
from im21k.training.batches import Batches
from im21k.training.config import Config
from im21k.weights import Input

# Steps are counted in int32 on the devices.
_MOST_STEPS = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """What a run is made of.

  Attributes:
    config: defines the run; `model.remat` is what `fit` has come to.
    devices: those of this host that take part.
    classes: what the logits mean.
    input: how photos become the model's input in evaluations, and when the weights are
      used.
    course: its phases.
    loaders: make the training batches, one in each phase.
    eval_sets: held-out photos that are scored, first those that the best checkpoint
      goes by; empty: there are none.
    model, schedule, optimizer: as trained here.
    averaging: how weights are averaged; None: they are not.
    total: steps of the run.
    log_every, eval_every, save_every: steps of rows, evaluations, checkpoints.
  """

  config: Config
  devices: list[jax.Device]
  classes: synsets.ClassList
  input: Input
  course: courses.Course
  loaders: tuple[TrainLoader, ...]
  eval_sets: tuple[eval_sets.EvalSet, ...]
  model: nn.Module
  schedule: optax.Schedule
  optimizer: optax.GradientTransformation
  averaging: averages.Averaging | None
  total: int
  log_every: courses.Every
  eval_every: courses.Every
  save_every: courses.Every

  @property
  def loader(self) -> TrainLoader:
    """That of the last phase: all have the same photos in the same order."""
    return self.loaders[-1]

  def init(self) -> steps.TrainState:
    """The state before the first step; ValueError: it starts from unfit weights."""
    config = self.config
    if config.init:
      variables = _start(config, config.init, self.input, self.classes)
      return steps.begin(variables, self.optimizer, self.averaging)
    size, seed = config.image_size, config.seed
    return steps.init(self.model, self.optimizer, size, seed, self.averaging)

  def shapes(self) -> steps.TrainState:
    """The shapes of the state, without the weights that it starts from."""
    size = self.config.image_size
    shapes: steps.TrainState = jax.eval_shape(
      lambda: steps.init(self.model, self.optimizer, size, 0, self.averaging)
    )
    return shapes

  def batches(self, example: int) -> Batches:
    """Training batches on the devices, from this example of the stream on."""
    place = parallel.divided(self.devices)
    return Batches(self.loaders, self.course, example, place)

  def make_step(self, state: Any) -> tuple[Any, Any]:
    """The mapped step for such a state, and the axes along which it is split."""
    return self.config.make_step(
      self.model, self.optimizer, state, self.devices, self.averaging
    )

  def place(self, state: Any, axes: Any) -> Any:
    """Brings a state to the devices as the mapped step takes it."""
    if self.config.split_head:
      state = split_head.split(state, len(self.devices))
    return parallel.place(state, self.devices, axes)

  def whole(self, state: Any) -> Any:
    """The inverse of `place` for a state or a part of it, as checkpoints keep it."""
    if self.config.split_head:
      classes = getattr(self.model, "num_classes")  # noqa: B009
      return split_head.join(state, classes, self.devices)
    return state

  def variables(self, state: Any) -> dict[str, Any]:
    """What is scored and exported of a placed state."""
    variables: dict[str, Any] = self.whole(averages.variables(state))
    return variables


def prepare(config: Config, begun: bool = False) -> Setup:
  """Opens the data and makes the parts.

  Args:
    config: defines the run.
    begun: whether it goes on from a checkpoint, so that the weights that it started
      from may be gone.

  Raises:
    ValueError: names what does not fit.
  """
  devices = parallel.devices(config.devices)
  classes = synsets.get(config.classes)
  prepared = config.make_input()
  if config.init and not begun:  # Before anything is compiled.
    _start(config, config.init, prepared, classes)
  for _, batch in config.sizes:
    accumulation.check(batch, config.devices * parallel.hosts(), config.accumulate)
  config = policies.for_devices(config, devices)
  course, loaders = _loaders(config, classes)
  loader = loaders[-1]
  _check_outputs(config, classes)
  model = config.make_model(len(classes))
  if (total := course.steps(config.total)) > _MOST_STEPS:
    raise ValueError(f"total is {total:,} steps, but must be at most {_MOST_STEPS:,}")
  averaging = config.make_averaging(loader.count)
  if averaging:
    averaging.check(total)
  _check_recalibration(config, model, loader.count)
  held_out = eval_sets.open_all(
    config.eval_folders,
    (Path(config.data), loader.manifest),
    model,
    prepared,
    classes,
    devices=devices,
    batch_size=config.batch_size // config.accumulate,
    threads=config.threads,
  )
  return Setup(
    config=config,
    devices=devices,
    classes=classes,
    input=prepared,
    course=course,
    loaders=loaders,
    eval_sets=held_out,
    model=model,
    schedule=config.make_schedule(loader.count),
    optimizer=config.make_optimizer(loader.count),
    averaging=averaging,
    total=total,
    log_every=course.every(config.log_every),
    eval_every=course.every(config.eval_every),
    save_every=course.every(config.save_every),
  )


def _loaders(
  config: Config, classes: synsets.ClassList
) -> tuple[courses.Course, tuple[TrainLoader, ...]]:
  """The phases of a run, and a loader for each."""
  last = TrainLoader(
    Path(config.data),
    batch_size=config.batch_size,
    devices=config.devices,
    host=parallel.host(),
    hosts=parallel.hosts(),
    image_size=config.image_size,
    short_side=config.crop_from,
    classes=classes,
    seed=config.seed,
    threads=config.threads,
    workers=config.workers,
    **keys.document(config.augment),
  )
  course = config.course(last.count)
  if config.phases:
    courses.check(course, config.phases.until)
  return course, (*(_of_phase(config, last, one) for one in course.phases[:-1]), last)


def _of_phase(config: Config, last: TrainLoader, phase: courses.Phase) -> TrainLoader:
  """The loader of a phase before the last."""
  alone = config.alone(phase.image_size, phase.batch_size)
  try:
    return TrainLoader(
      Path(config.data),
      last.options,
      batch_size=alone.batch_size,
      image_size=alone.image_size,
      short_side=alone.crop_from,
    )
  except ValueError as error:
    raise ValueError(f"phases: {error}") from error


def _start(
  config: Config, init: start.Init, prepared: Input, classes: synsets.ClassList
) -> dict[str, Any]:
  """The variables to start from; see `start.read`."""
  return start.read(init, config.model, prepared, classes, config.seed)


def _check_recalibration(config: Config, model: nn.Module, photos: int) -> None:
  """ValueError, before anything is trained, if its end cannot be recalibrated."""
  if config.recalibrate is None:
    return
  batch = config.batch_size // config.accumulate
  if min(config.recalibrate, photos) < batch:
    raise ValueError(
      f"recalibrate is {config.recalibrate} of {words.counted(photos, 'photo')}, which "
      f"make no whole batch of {batch}: raise it, or set it to none"
    )
  if not hasattr(model, "bn_momentum"):
    raise ValueError(
      f"recalibrate needs a model with bn_momentum, which {config.model['name']} has "
      "not: set recalibrate to none"
    )


def _check_outputs(config: Config, classes: synsets.ClassList) -> None:
  """ValueError if there are labels that the model has no output for."""
  outputs = config.model.get("num_classes")
  if outputs is not None and outputs < len(classes):
    raise ValueError(
      f"model.num_classes is {outputs}, but the class list {classes.name} has "
      f"{len(classes):,} classes: leave it out, or set at least that"
    )

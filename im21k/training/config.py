"""What defines a run: a checked config, and what is made of it.

In comes the nested dict of a config file, and settings in place of its values. Out come
a checked `Config`, and the model, optimizer, schedule, loss and step that it describes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from flax import linen as nn

from im21k import models, parallel, synsets
from im21k.photos.crops import usual_short_side
from im21k.synsets import hierarchy
from im21k.training import (
  averages,
  eval_crop,
  eval_keys,
  keys,
  losses,
  optim,
  optimizers,
  overrides,
  split_head,
)
from im21k.training import course as courses
from im21k.training.durations import Durations
from im21k.training.flat_losses import Loss
from im21k.training.model_keys import resolved_model
from im21k.training.run_keys import RunKeys
from im21k.training.start import Frozen
from im21k.training.step import TrainStep
from im21k.weights import Input


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunKeys):
  """All that defines a run; its keys are in `run_keys`."""

  def __post_init__(self) -> None:
    eval_keys.checked(self.eval_data)
    for name, value in (("mean", self.mean), ("std", self.std)):
      if isinstance(value, tuple) and len(value) != 3:
        raise ValueError(f"{name} has {len(value)} numbers, but must have 1 or 3")
    _ = self.eval_crop  # Raises if it is none.
    if self.split_head:
      split_head.check(self.loss, self.optimizer.clip_norm)
      optimizers.check_split(self.optimizer)
    if self.recalibrate and self.is_frozen:
      raise ValueError(
        f"recalibrate is {self.recalibrate}, but a frozen trunk keeps its BatchNorm "
        "statistics: set recalibrate to none"
      )

  @classmethod
  def from_dict(
    cls, document: Mapping[str, Any], settings: Mapping[str, Any] | None = None
  ) -> "Config":
    """A checked config.

    Args:
      document: nested keys, as in a config file.
      settings: values by dotted name that take the place of those in `document`.

    Raises:
      ValueError: names a key that is unknown, with the nearest, or missing, or has a
        wrong value.
    """
    every = all_keys()
    known = tuple(sorted(name for each in every for name in each.settable))
    try:
      changed = overrides.apply(document, settings or {}, every)
      config: Config = keys.build(cls, changed, known)
    except RecursionError:
      raise ValueError(
        "the config is nested too deep: no key has keys so deep"
      ) from None
    return config

  def changed(self, settings: Mapping[str, Any]) -> "Config":
    """A copy with other values, by dotted name."""
    return self.from_dict(self.to_dict(), settings)

  def to_dict(self) -> dict[str, Any]:
    """Nested keys, ready for JSON; `from_dict` reads them."""
    return keys.document(self)

  def resolved(self) -> "Config":
    """The same run with every default spelled out that depends on another key."""
    return dataclasses.replace(
      self, short_side=self.crop_from, model=resolved_model(self.model),
      eval_data=self.eval_folders or None, eval_size=self.eval_crop[0],
      eval_short_side=self.eval_crop[1],
    )  # fmt: skip

  @property
  def eval_folders(self) -> dict[str, str]:
    """The folders of `eval_data` by name."""
    return eval_keys.checked(self.eval_data)

  @property
  def crop_from(self) -> int:
    """Short side of the photo that crops are cut from, pixels."""
    return self.short_side or usual_short_side(self.image_size)

  @property
  def eval_crop(self) -> tuple[int, int]:
    """Side of the square in evaluations, and short side that it is cut from, pixels."""
    return eval_crop.of(
      self.image_size, self.short_side, self.eval_size, self.eval_short_side
    )

  def make_input(self) -> Input:
    """How photos are prepared in evaluations, and wherever the weights are used."""
    return Input(*self.eval_crop, self.mean, self.std)

  @property
  def is_frozen(self) -> bool:
    """Whether the head alone is trained."""
    return self.init is not None and self.init.trunk.name == Frozen.name

  def course(self, train_examples: int) -> courses.Course:
    """The phases of the run, for so many photos in an epoch."""
    until = self.phases.until if self.phases else Durations((), "steps")
    return courses.of(self.sizes, until, train_examples)

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Side of the photos and batch in each phase."""
    if self.phases is None:
      return [(self.image_size, self.batch_size)]
    return self.phases.sizes(self.image_size, self.batch_size)

  def alone(self, image_size: int, batch_size: int) -> "Config":
    """The same run with photos and batches of one phase throughout."""
    if self.phases is None:
      return self
    short = eval_crop.in_proportion(self.image_size, self.short_side, image_size)
    return dataclasses.replace(
      self.resolved(), phases=None, image_size=image_size, short_side=short,
      batch_size=batch_size,
    )  # fmt: skip

  def largest(self) -> "Config":
    """The same with the phase throughout whose step has most pixels and needs most."""
    return self.alone(*max(self.sizes, key=lambda size: (size[0] ** 2 * size[1], size)))

  def make_schedule(self, train_examples: int) -> optax.Schedule:
    """Learning rate by step; ValueError names what is wrong with `schedule`."""
    course = self.course(train_examples)
    schedule, total = course.in_steps(self.schedule), course.steps(self.total)
    return schedule.make(self.batch_size, train_examples, total)

  def make_optimizer(
    self, train_examples: int | None = None
  ) -> optax.GradientTransformation:
    """The optimizer with this schedule, of the parameters that are trained.

    Without the number of photos it has a constant rate: for the form of its state and
    the memory of a step, on which no rate depends.
    """
    schedule = optax.constant_schedule(1.0)
    if train_examples is not None:
      schedule = self.make_schedule(train_examples)
    rate = self.init.trunk.lr if self.init else 1.0
    made = self.optimizer.make(schedule, rate)
    return optim.of_head(made) if self.is_frozen else made

  def make_averaging(self, train_examples: int) -> averages.Averaging | None:
    """How weights are averaged, of the parameters that are trained."""
    total = self.course(train_examples).steps(self.total)
    made = self.average.make(self.batch_size, train_examples, total)
    return dataclasses.replace(made, head_only=self.is_frozen) if made else None

  def model_fields(self, num_classes: int) -> dict[str, Any]:
    """The fields with which others can make the model again."""
    fields = {"num_classes": num_classes, **self.model}
    del fields["name"]
    return fields

  def make_model(self, num_classes: int) -> nn.Module:
    """The model as it is trained here."""
    axis = parallel.AXIS if self.sync_bn else None
    fields = self.model_fields(num_classes)
    return models.create(self.model["name"], bn_axis_name=axis, **fields)

  def make_step(
    self,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    state: Any,
    on: Sequence[jax.Device],
    averaging: averages.Averaging | None = None,
  ) -> tuple[Any, Any]:
    """The mapped training step, and the axes along which its state is split, if any.

    `state` may be shapes; `on` devices that are only described.
    """
    step = TrainStep(
      model=model, optimizer=optimizer, mean=self.mean, std=self.std,
      overlap=self.overlap, wire_dtype=self.wire_dtype, split_head=self.split_head,
      frozen=self.is_frozen, mix=self.mix, seed=self.seed, loss=self.make_loss(),
      smoothing=getattr(self.loss, "smoothing", 0.0),
      sigmoid=isinstance(self.loss, losses.Sigmoid),
      averaging=averaging,
      accumulate=self.accumulate,
    )  # fmt: skip
    axes = split_head.axes(state) if self.split_head else None
    return parallel.train_step(step.take, on, axes), axes

  def make_loss(self) -> Loss:
    """The loss over the classes."""
    if isinstance(self.loss, losses.CrossEntropy | losses.Sigmoid):
      return self.loss.make()  # Needs no hierarchy, a second to read.
    return self.loss.make(hierarchy.over(synsets.get(self.classes)))


def all_keys() -> tuple[keys.Key, ...]:
  """Every key of a config, those of all registered models included."""
  return tuple(keys.listing(Config))

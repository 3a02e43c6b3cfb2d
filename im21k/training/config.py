"""What defines a run: the keys of a config file, checked, and what is made of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import optax
from flax import linen as nn

from im21k import models, parallel, synsets
from im21k.models.registry import nearest
from im21k.synsets import hierarchy
from im21k.training import losses, optim, split_head
from im21k.training import step as steps
from im21k.training.augment import Mix

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
    augment: arguments of `TrainLoader`: crop, mirror, order, max_bad_share.
    mix: fields of `mix.Mix`: what is done to photos on the device; none: nothing.
    loss: `name` and fields of a loss in `losses`; none: cross-entropy.
    image_size: side of the model's input, pixels.
    short_side: of the photo that crops are cut from; None: image_size · 256 / 224.
    mean, std: of the normalisation, on the scale 0–255.
    devices: how many take part.
    overlap: average gradients part by part during backprop, not all at its end.
    wire_dtype: in which gradients are sent between devices: float32 or bfloat16.
    split_head: split the head's classes over the devices: see `split_head`.
    sync_bn: BatchNorm's statistics over all devices instead of each device's own.
    seed: of parameters, order and augmentation.
    threads, workers: that make batches: see `TrainLoader`; None: as the machine is.
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
  mix: dict[str, Any] = dataclasses.field(default_factory=dict)
  loss: dict[str, Any] = dataclasses.field(default_factory=dict)
  image_size: int = 224
  short_side: int | None = None
  mean: Any = 117.0
  std: Any = 1.0
  devices: int = 4
  overlap: bool = True
  wire_dtype: str = "float32"
  split_head: bool = False
  sync_bn: bool = False
  seed: int = 0
  threads: int | None = None
  workers: int | None = None
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

  def steps(self, name: str, train_examples: int) -> int:
    """The duration called `name`, in steps, for a data set of so many photos."""
    duration = getattr(self, name)
    return optim.steps_in(name, duration, self.batch_size, train_examples)

  def make_schedule(self, train_examples: int) -> optax.Schedule:
    """Learning rate by step; ValueError names what is wrong with `schedule`."""

    def in_steps(name: str, duration: Duration) -> int:
      name = f"schedule.{name}"
      return optim.steps_in(name, duration, self.batch_size, train_examples)

    schedule = dict(self.schedule)
    name = schedule.pop("name", None)
    if name == "stepwise":
      (unit, ends), *more = schedule["until"].items()
      if more:
        raise ValueError("schedule.until must have one unit")
      until = [in_steps("until", {unit: end}) for end in ends]
      return optim.stepwise(list(schedule["rates"]), until)
    if name == "cosine":
      warmup = in_steps("warmup", schedule["warmup"])
      return optim.cosine(schedule["peak"], warmup, self.steps("total", train_examples))
    raise ValueError(
      f"no schedule is called {name!r}{nearest(str(name), optim.SCHEDULES)}"
    )

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
  ) -> tuple[Any, Any]:
    """The mapped training step, and the axes along which its state is split, if any.

    `state` may be shapes; `on` devices that are only described.
    """
    wires = ("float32", "bfloat16")
    if self.wire_dtype not in wires:
      raise ValueError(
        f"wire_dtype is {self.wire_dtype!r}{nearest(self.wire_dtype, wires)}"
      )
    step = steps.train_step(
      model,
      optimizer,
      self.mean,
      self.std,
      overlap=self.overlap,
      wire_dtype=self.wire_dtype,
      split_head=self.split_head,
      mix=self._mix(),
      seed=self.seed,
      loss=self._loss(),
    )
    axes = split_head.axes(state) if self.split_head else None
    return parallel.train_step(step, on, axes), axes

  def _loss(self) -> losses.Loss:
    if not self.loss:
      return losses.cross_entropy
    fields = dict(self.loss)
    name = fields.pop("name", None)
    if self.split_head and name != "cross_entropy":
      raise ValueError(
        f"loss {name!r} needs the logits of all classes on each device, and split_head "
        "keeps them apart: set split_head to False"
      )
    return losses.make(hierarchy.over(synsets.get(self.classes)), str(name), **fields)

  def _mix(self) -> Mix | None:
    known = tuple(field.name for field in dataclasses.fields(Mix))
    for name in self.mix:
      if name not in known:
        raise ValueError(f"mix has no key {name!r}{nearest(name, known)}")
    return Mix(**self.mix) if self.mix else None

"""State and batch -> next state and metrics: one step of training, a pure function."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from im21k import parallel
from im21k.training import accumulation, flat_losses, split_head
from im21k.training.augment import Mix
from im21k.training.averages import Averaging
from im21k.weights import normalize
from im21k.weights.heads import HEAD


class TrainState(struct.PyTreeNode):
  """All that changes from step to step: arrays, or their shapes, or their axes."""

  step: Any
  params: Any
  batch_stats: Any
  opt_state: Any


class AveragedState(TrainState):
  """A state with an average of weights; others have no field for it, nor their files.

  Attributes:
    average: an `averages.Average`.
  """

  average: Any


def init(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  image_size: int,
  seed: int,
  averaging: Averaging | None = None,
) -> TrainState:
  """A fresh state, the same on every machine for the same seed."""
  images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)

  def make() -> TrainState:
    variables = model.init(jax.random.key(seed), images, train=False)
    params = variables["params"]
    return _state(params, variables["batch_stats"], optimizer.init(params), averaging)

  state: TrainState = jax.jit(make)()
  return state


def begin(
  variables: Any,
  optimizer: optax.GradientTransformation,
  averaging: Averaging | None = None,
) -> TrainState:
  """A state before the first step from variables that there are already."""
  params = variables["params"]
  opt_state = jax.jit(optimizer.init)(params)
  return _state(params, variables.get("batch_stats", {}), opt_state, averaging)


def _state(
  params: Any, batch_stats: Any, opt_state: Any, averaging: Averaging | None
) -> TrainState:
  parts = (jnp.zeros((), jnp.int32), params, batch_stats, opt_state)
  if averaging is None:
    return TrainState(*parts)
  return AveragedState(*parts, averaging.init(params, batch_stats))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainStep:
  """How a step of training is made; `take` is the function for `parallel.train_step`.

  Attributes:
    model: gives logits. If it has a field `reduce`, its gradients are averaged part by
      part during backprop; else all together at the end. If it has a field `prepare`,
      it normalises the photos, and backprop keeps them as they came.
    optimizer: updates its parameters.
    mean, std: of the normalisation.
    overlap: False averages gradients at the end in any case.
    wire_dtype: type in which gradients are sent; None: float32, as they are.
    split_head: the state's head is split over the devices: see `split_head`.
    frozen: the head alone is trained; the trunk computes as it does in use.
    mix: changes of the photos on the device.
    seed: of these.
    loss: of logits and labels; a split head has its own, a cross-entropy,
    smoothing: which spreads this share of each label evenly, or
    sigmoid: that of every class by itself.
    accumulate: parts in which each device works through its examples. Gradients are
      averaged over devices once, at the end; statistics are those of each part,
      averaged as over devices.
    averaging: how the average of the state is updated, if it has one.
  """

  model: Any
  optimizer: optax.GradientTransformation
  mean: Any = 117.0
  std: Any = 1.0
  overlap: bool = True
  wire_dtype: str | None = None
  split_head: bool = False
  frozen: bool = False
  mix: Mix = dataclasses.field(default_factory=Mix)
  seed: int = 0
  loss: flat_losses.Loss = flat_losses.cross_entropy
  smoothing: float = 0.0
  sigmoid: bool = False
  accumulate: int = 1
  averaging: Averaging | None = None

  def take(self, state: TrainState, batch: dict[str, Any]) -> tuple[TrainState, Any]:
    """Takes a step, inside a mapped function.

    Args:
      state: the same on every device, but for a split head.
      batch: this device's `image` uint8 `[b, h, w, 3]` and `label` int32 `[b]`; and
        perhaps `notes`, of which the metrics then have the sum over all devices.

    Returns:
      The next state, and the metrics `loss` (mean) and `top_1` (share) over all
      devices, float32. BatchNorm's moving statistics are each device's own, averaged,
      as in the original.
    """
    image, label, other, share = self._mixed(state.step, batch)
    early = self._averages_early()
    model = self.model.clone(reduce=self._average) if early else self.model
    prepares = hasattr(model, "prepare")
    if prepares:
      model = model.clone(prepare=self._normalized)
    if self.split_head:
      model = model.clone(num_classes=None)

    trained = {HEAD: state.params[HEAD]} if self.frozen else state.params

    def loss_of(trained: Any, image: Any, label: Any, other: Any) -> Any:
      params = {**state.params, **trained}
      (outputs, _), updates = model.apply(
        {"params": params, "batch_stats": state.batch_stats},
        image if prepares else self._normalized(image),
        train=not self.frozen,
        mutable=["batch_stats"],
      )
      value, top_1 = self._scores(params, outputs, label)
      if share is not None:
        mixed_in, _ = self._scores(params, outputs, other)
        value = share * value + (1 - share) * mixed_in
      return value, (updates["batch_stats"], {"loss": value, "top_1": top_1})

    of_part = functools.partial(jax.grad(loss_of, has_aux=True), trained)
    if self.accumulate == 1:
      gradients, (batch_stats, metrics) = of_part(image, label, other)
    else:
      like = trained, (state.batch_stats, dict.fromkeys(("loss", "top_1"), 0.0))
      gradients, (batch_stats, metrics) = accumulation.mean(
        of_part, (image, label, other), self.accumulate, like
      )
    if not early:
      gradients = self._average_late(gradients)
    if self.frozen:
      batch_stats, metrics = state.batch_stats, parallel.mean(metrics)
    else:
      batch_stats, metrics = parallel.mean((batch_stats, metrics))
    if "notes" in batch:  # What hosts tell each other: see `joint`.
      metrics = {**metrics, "notes": parallel.total(batch["notes"])}
    updates, opt_state = self.optimizer.update(gradients, state.opt_state, trained)
    new: dict[str, Any] = {
      "step": state.step + 1,
      "params": {**state.params, **optax.apply_updates(trained, updates)},
      "batch_stats": batch_stats,
    }
    if self.averaging:
      average = getattr(state, "average")  # noqa: B009
      new["average"] = self.averaging.update(average, **new)
    return state.replace(**new, opt_state=opt_state), metrics

  def _normalized(self, image: jax.Array) -> jax.Array:
    return normalize(image, self.mean, self.std)

  def _mixed(self, step: jax.Array, batch: dict[str, Any]) -> tuple[Any, ...]:
    """Photos, their labels, and the label and share of what was mixed into them."""
    image, label = batch["image"], batch["label"]
    if not self.mix.changes_photos:
      return image, label, label, None
    common = jax.random.fold_in(jax.random.key(self.seed), step)
    own = jax.random.fold_in(common, parallel.group())
    image, other, share = self.mix.apply(common, own, image.astype(jnp.float32), label)
    return image, label, other, share

  def _scores(
    self, params: Any, outputs: jax.Array, label: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Mean loss and share of right first answers."""
    if self.split_head:
      form = split_head.Form(
        self.model.num_classes, self.model.dtype, self.smoothing, self.sigmoid
      )
      return split_head.loss(outputs, params[HEAD], label, form)
    correct = outputs.argmax(-1) == label
    return self.loss(outputs, label).mean(), correct.mean(dtype=jnp.float32)

  def _averages_early(self) -> bool:
    """Whether gradients are averaged during backprop; one device has no need to."""
    can = self.overlap and hasattr(self.model, "reduce") and not self.frozen
    # Of several parts, each but the last would be sent for nothing.
    return can and self.accumulate == 1 and parallel.axis_size() > 1

  def _average(self, gradients: Any) -> Any:
    with jax.named_scope("gradients"):  # so that a plan recognises them in the program
      return parallel.mean(gradients, self.wire_dtype)

  def _average_late(self, gradients: Any) -> Any:
    # A device's part of a split head has its whole gradient already.
    own = {HEAD: gradients[HEAD]} if self.split_head else {}
    trunk = {k: v for k, v in gradients.items() if k not in own}
    return {**self._average(trunk), **own}

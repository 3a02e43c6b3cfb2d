"""One step of training and one of evaluation, as functions of arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from im21k import parallel
from im21k.training import losses as training_losses
from im21k.training.augment import Mix
from im21k.training.split_head import loss as split_head_loss
from im21k.weights import normalize


class TrainState(struct.PyTreeNode):
  """All that changes from step to step."""

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any


def init(
  model: nn.Module, optimizer: optax.GradientTransformation, image_size: int, seed: int
) -> TrainState:
  """A fresh state, the same on every machine for the same seed."""
  images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)

  @jax.jit
  def make() -> TrainState:
    variables = model.init(jax.random.key(seed), images, train=False)
    params = variables["params"]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats=variables["batch_stats"],
      opt_state=optimizer.init(params),
    )

  return make()


def train_step(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  mean: Any,
  std: Any,
  overlap: bool = True,
  wire_dtype: Any = None,
  split_head: bool = False,
  mix: Mix | None = None,
  seed: int = 0,
  loss: training_losses.Loss = training_losses.cross_entropy,
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
  """Makes the step for `parallel.train_step`.

  Args:
    model: gives logits. If it has a field `reduce`, its gradients are averaged part by
      part during backprop; else all together at the end.
    optimizer: of its parameters.
    mean, std: of the normalisation.
    overlap: False averages gradients at the end in any case.
    wire_dtype: in which gradients are sent; None: float32, as they are.
    split_head: the state's head is split over the devices: see `split_head`.
    mix: changes of the photos on the device; None: none.
    seed: of these.
    loss: of logits and labels; a split head has its own cross-entropy.

  A batch holds `image` uint8 `[b, h, w, 3]` and `label` int32 `[b]`. The metrics are
  `loss` (mean) and `top_1` (share) over all devices, float32.
  BatchNorm's moving statistics are each device's own, averaged, as in the original.
  """

  can_overlap = overlap and hasattr(model, "reduce")

  def average(gradients: Any) -> Any:
    with jax.named_scope("gradients"):  # so that a plan finds them in the program
      return parallel.mean(gradients, wire_dtype)

  def step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
    image, label = batch["image"], batch["label"]
    if mix:
      common = jax.random.fold_in(jax.random.key(seed), state.step)
      of_device = jax.random.fold_in(common, parallel.index())
      image, other, share = mix.apply(
        common, of_device, image.astype(jnp.float32), label
      )
    image = normalize(image, mean, std)
    # Alone, a device has nothing to reduce.
    early = can_overlap and parallel.axis_size() > 1
    trained = model.clone(reduce=average) if early else model
    if split_head:
      trained = trained.clone(num_classes=None)

    def loss_of(params: Any) -> Any:
      (outputs, _), updates = trained.apply(
        {"params": params, "batch_stats": state.batch_stats},
        image,
        train=True,
        mutable=["batch_stats"],
      )

      def scores(label: jax.Array) -> tuple[jax.Array, jax.Array]:
        if split_head:
          return split_head_loss(
            outputs, params["head"], label, model.num_classes, model.dtype
          )
        correct = outputs.argmax(-1) == label
        return loss(outputs, label).mean(), correct.mean(dtype=jnp.float32)

      value, top_1 = scores(label)
      if mix:
        value = share * value + (1 - share) * scores(other)[0]
      metrics = {"loss": value, "top_1": top_1}
      return value, (updates["batch_stats"], metrics)

    gradients, (batch_stats, metrics) = jax.grad(loss_of, has_aux=True)(state.params)
    if not early:
      # A device's part of a split head has its whole gradient already.
      own = {"head": gradients["head"]} if split_head else {}
      trunk = {k: v for k, v in gradients.items() if k not in own}
      gradients = {**average(trunk), **own}
    batch_stats, metrics = parallel.mean((batch_stats, metrics))
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    return (
      state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
      ),
      metrics,
    )

  return step

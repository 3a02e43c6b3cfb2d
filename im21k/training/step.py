"""One step of training and one of evaluation, as functions of arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from im21k.training import losses as training_losses
from im21k.training import parallel, sharded_head
from im21k.training.mix import Mix

TOP_K = (1, 5, 20)


class TrainState(struct.PyTreeNode):
  """All that changes from step to step."""

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any


def normalize(image: jax.Array, mean: Any, std: Any) -> jax.Array:
  """uint8 `[…, 3]` -> float32: (image − mean) / std, per channel or for all."""
  shape = (1,) * (image.ndim - 1) + (-1,)
  mean, std = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (mean, std))
  return (image.astype(jnp.float32) - mean) / std


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
    split_head: the state's head is split over the devices: see `sharded_head`.
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
          return sharded_head.loss(
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


def eval_step(
  model: nn.Module, mean: Any, std: Any, subsets: dict[str, Any]
) -> Callable[[Any, dict], dict]:
  """Makes the step for `parallel.eval_step`: sums over the examples with mask 1.

  Args:
    model: gives logits.
    mean, std: of the normalisation.
    subsets: by name, bool `[num_classes]`: the classes that may be answered, and of
      which examples count. None stands for all.

  Returns:
    A function of variables and a batch, whose result holds for each subset the sums
    `count`, `loss`, and `top_1`, `top_5`, `top_20` (numbers of correct answers).
  """

  def step(variables: Any, batch: dict) -> dict:
    image = normalize(batch["image"], mean, std)
    logits, _ = model.apply(variables, image, train=False)
    label = batch["label"]

    def sums(allowed: Any) -> dict:
      mask, within = batch["mask"], logits
      if allowed is not None:
        mask = mask * jnp.asarray(allowed)[label]
        within = jnp.where(jnp.asarray(allowed), logits, -jnp.inf)
      losses = optax.softmax_cross_entropy_with_integer_labels(within, label)
      place = rank(within, label)
      right = {f"top_{k}": (mask * (place < k)).sum() for k in TOP_K}
      # A label outside the subset has an infinite loss, and mask 0.
      return {
        "count": mask.sum(),
        "loss": jnp.where(mask > 0, losses, 0).sum(),
        **right,
      }

    return parallel.total({name: sums(allowed) for name, allowed in subsets.items()})

  return step


def rank_step(
  model: nn.Module, mean: Any, std: Any, subsets: dict[str, Any], flip: bool = False
) -> Callable[[Any, dict], dict]:
  """Makes a step for `parallel.eval_step` that tells of every example by itself.

  Args:
    model, mean, std, subsets: as for `eval_step`.
    flip: logits are the mean of those of the image and of its mirror image.

  Returns:
    A function of variables and a batch, whose result holds for each subset `rank` and
    `loss` of the batch's examples, `[devices · b]`, whatever mask and label they have.
  """

  def step(variables: Any, batch: dict) -> dict:
    image, label = normalize(batch["image"], mean, std), batch["label"]
    logits, _ = model.apply(variables, image, train=False)
    if flip:
      mirrored, _ = model.apply(variables, image[:, :, ::-1], train=False)
      logits = (logits + mirrored) / 2
    found = {}
    for name, allowed in subsets.items():
      within = logits if allowed is None else jnp.where(allowed, logits, -jnp.inf)
      losses = optax.softmax_cross_entropy_with_integer_labels(within, label)
      found[name] = {"rank": rank(within, label), "loss": losses}
    return jax.tree.map(parallel.gather, found)

  return step


def rank(logits: jax.Array, label: jax.Array) -> jax.Array:
  """How many classes come before the right one: `[b, n]`, `[b]` -> int `[b]`.

  A class of equal logit comes before, if it is not the right one; so a model that
  answers the same to everything earns nothing. A label with a logit that is not
  finite comes last.
  """
  own = jnp.take_along_axis(logits, label[:, None], axis=-1)
  before = (logits >= own).sum(-1) - 1
  return jnp.where(jnp.isfinite(own[:, 0]), before, logits.shape[-1])

"""The original's SGD with what was added to it, and rates as functions of the step."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax

from im21k.training.durations import Duration, Durations
from im21k.training.keys import REQUIRED, key
from im21k.training.values import Bounds
from im21k.weights.heads import HEAD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stepwise:
  """Keys of a rate that is constant in each of several phases."""

  name: ClassVar[str] = "stepwise"
  rates: tuple[float, ...] = key(
    REQUIRED, "Learning rates, one for each phase.", fixed=False, bounds=Bounds(0)
  )
  until: Durations = key(
    REQUIRED, "Ends of all phases but the last, since the start.", fixed=False
  )

  def make(self, batch_size: int, train_examples: int, total: int) -> optax.Schedule:
    """Learning rate by step, for a run of `total` steps."""
    return stepwise(list(self.rates), self.until.steps(batch_size, train_examples))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
  """Keys of a rate that rises in a warm-up, then falls along a cosine to 0."""

  name: ClassVar[str] = "cosine"
  peak: float = key(REQUIRED, "Largest learning rate.", fixed=False, bounds=Bounds(0))
  warmup: Duration = key(REQUIRED, "Time until the peak.", fixed=False)

  def make(self, batch_size: int, train_examples: int, total: int) -> optax.Schedule:
    """Learning rate by step, for a run of `total` steps."""
    return cosine(self.peak, self.warmup.steps(batch_size, train_examples), total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Cosine):
  """Keys of a rate that rises in a warm-up, then falls along a line to 0."""

  name: ClassVar[str] = "linear"

  def make(self, batch_size: int, train_examples: int, total: int) -> optax.Schedule:
    """Learning rate by step, for a run of `total` steps."""
    warmup = self.warmup.steps(batch_size, train_examples)
    return falling(self.peak, warmup, total, lambda left: left)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rex(Cosine):
  """Keys of a rate that rises in a warm-up, then falls late: Chen et al. 2021, REX."""

  name: ClassVar[str] = "rex"

  def make(self, batch_size: int, train_examples: int, total: int) -> optax.Schedule:
    """Learning rate by step, for a run of `total` steps."""
    warmup = self.warmup.steps(batch_size, train_examples)
    return falling(self.peak, warmup, total, lambda left: 2 * left / (1 + left))


SCHEDULES: dict[str, type[Any]] = {
  one.name: one for one in (Stepwise, Cosine, Linear, Rex)
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """Keys of `sgd`."""

  momentum: float = key(
    0.9,
    "Share of the last update that the next one keeps.",
    bounds=Bounds(0, 1, below=True),
  )
  weight_decay: float = key(
    1e-5, "Multiple of a parameter added to its gradient.", bounds=Bounds(0)
  )
  decay: Literal["all", "kernels"] = key(
    "all", "Which parameters decay: all, as in the original, or kernels only."
  )
  nesterov: bool = key(
    False, "Look ahead along the momentum (Nesterov), as the original does not."
  )
  clip_norm: float | None = key(
    None,
    "Scale gradients down whose norm over all parameters is larger; none: never.",
    bounds=Bounds(0, above=True),
  )


def stepwise(rates: list[float], until: list[int]) -> optax.Schedule:
  """`rates[k]` up to step `until[k]`; the last rate holds from then on.

  The original's are `original.LEARNING_RATES`, changed after the passes
  `original.RATE_CHANGES`.
  """
  if not rates:
    raise ValueError("schedule.rates is empty: give at least one learning rate")
  if len(rates) != len(until) + 1 or sorted(until) != list(until):
    raise ValueError(
      f"schedule: {len(rates)} learning rates need {max(0, len(rates) - 1)} ascending "
      f"changes, not {until}"
    )
  return optax.join_schedules([optax.constant_schedule(r) for r in rates], list(until))


def cosine(peak: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
  """Rises linearly to `peak` during the warm-up, then falls along a cosine to 0."""
  _check_warmup(warmup_steps, total_steps)
  rate = optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)
  # optax mixes the step with floats, which strict type promotion does not allow.
  return lambda step: rate(jnp.asarray(step, jnp.float32))


def falling(
  peak: float,
  warmup_steps: int,
  total_steps: int,
  form: Callable[[jax.Array], jax.Array],
) -> optax.Schedule:
  """Rises linearly to `peak` during the warm-up, then falls to 0.

  Args:
    peak: largest rate, at the end of the warm-up.
    warmup_steps, total_steps: lengths of the warm-up and of the run.
    form: of the fall: from the share of it that is left, 1 to 0, to that of the peak.
  """
  _check_warmup(warmup_steps, total_steps)

  def rate(step: Any) -> jax.Array:
    at = jnp.asarray(step, jnp.float32)
    left = jnp.clip((total_steps - at) / (total_steps - warmup_steps), 0, 1)
    return peak * jnp.where(at < warmup_steps, at / max(1, warmup_steps), form(left))

  return rate


def _check_warmup(warmup_steps: int, total_steps: int) -> None:
  if not 0 <= warmup_steps < total_steps:
    raise ValueError(
      f"schedule: the warm-up of {warmup_steps} steps must be shorter than the "
      f"{total_steps} steps of the run: set schedule.warmup or total"
    )


def sgd(
  schedule: optax.Schedule,
  momentum: float = Optimizer.momentum,
  weight_decay: float = Optimizer.weight_decay,
  decay: str = Optimizer.decay,
  trunk_rate: float = 1.0,
  *,
  nesterov: bool = Optimizer.nesterov,
  clip_norm: float | None = Optimizer.clip_norm,
) -> optax.GradientTransformation:
  """SGD as in MXNet: m = momentum · m − lr · (grad + weight_decay · w); w += m.

  The learning rate is inside the momentum, so a change of rate takes effect over
  several steps. `trunk_rate` multiplies it outside the head; see `Optimizer` for the
  other arguments. Gradients are clipped before the decay is added. With `nesterov` the
  step is momentum · m further along (Sutskever et al. 2013, in the form of PyTorch).
  """
  if decay not in ("all", "kernels"):
    raise ValueError(f"decay is {decay!r}, but must be 'all' or 'kernels'")
  mask = None if decay == "all" else _kernels
  slower = [optax.masked(optax.scale(trunk_rate), _trunk)] if trunk_rate != 1 else []
  clip = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
  return optax.chain(
    *clip,
    optax.add_decayed_weights(weight_decay, mask),
    optax.scale_by_learning_rate(schedule),
    *slower,
    optax.trace(momentum, nesterov),
  )


def of_head(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
  """The same, with momentum for the head alone, whose gradients alone it is given."""
  return optax.GradientTransformation(
    lambda params: optimizer.init({HEAD: params[HEAD]}), optimizer.update
  )


def _trunk(params: Any) -> Any:
  """True for every parameter but the head's."""
  return {
    name: jax.tree.map(lambda _, trunk=name != HEAD: trunk, part)
    for name, part in params.items()
  }


def _kernels(params: Any) -> Any:
  return jax.tree.map(lambda x: x.ndim > 1, params)

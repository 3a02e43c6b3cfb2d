"""The section `schedule` of a config: learning rates as functions of the step."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from im21k.training.durations import Duration, Durations
from im21k.training.keys import REQUIRED, key
from im21k.training.values import Bounds


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

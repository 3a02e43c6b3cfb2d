"""The original's SGD, and learning rates as functions of the step."""

from typing import Any

import jax
import optax

SCHEDULES = ("stepwise", "cosine")
UNITS = ("steps", "epochs", "examples")


def steps_in(
  name: str, durations: dict[str, float], batch_size: int, train_examples: int
) -> int:
  """Turns a duration in any one unit into steps.

  Args:
    name: of the duration, `total`, say: for the message.
    durations: `{"steps": …}`, `{"epochs": …}` or `{"examples": …}`.
    batch_size: examples a step, over all devices.
    train_examples: examples an epoch.

  Raises:
    ValueError: not exactly one known unit is given.
  """
  given = {unit: value for unit, value in durations.items() if value is not None}
  if len(given) != 1 or next(iter(given)) not in UNITS:
    raise ValueError(
      f"{name} must be given in exactly one of {', '.join(UNITS)}, but is {given}"
    )
  unit, value = next(iter(given.items()))
  examples = value * {"epochs": train_examples, "examples": 1}.get(unit, batch_size)
  return max(1, round(examples / batch_size))


def stepwise(rates: list[float], until: list[int]) -> optax.Schedule:
  """`rates[k]` up to step `until[k]`; the last rate goes on for ever.

  The original's are `original.LEARNING_RATES`, changed after the passes
  `original.RATE_CHANGES`.
  """
  if len(rates) != len(until) + 1 or sorted(until) != list(until):
    raise ValueError(
      f"{len(rates)} learning rates need {len(rates) - 1} ascending changes, "
      f"not {until}"
    )
  return optax.join_schedules([optax.constant_schedule(r) for r in rates], list(until))


def cosine(peak: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
  """Rises linearly to `peak` during the warm-up, then falls along a cosine to 0."""
  if not 0 <= warmup_steps < total_steps:
    raise ValueError(
      f"the warm-up of {warmup_steps} steps must be shorter than the {total_steps} "
      "steps of the run"
    )
  return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)


def sgd(
  schedule: optax.Schedule,
  momentum: float = 0.9,
  weight_decay: float = 1e-5,
  decay: str = "all",
) -> optax.GradientTransformation:
  """SGD as MXNet does it: m = momentum · m − lr · (grad + weight_decay · w); w += m.

  The learning rate stands inside the momentum, so a change of rate takes effect over
  some steps. `decay` is `all` (the original) or `kernels`: which parameters decay.
  """
  if decay not in ("all", "kernels"):
    raise ValueError(f"decay is {decay!r}, but must be 'all' or 'kernels'")
  mask = None if decay == "all" else _kernels
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask),
    optax.scale_by_learning_rate(schedule),
    optax.trace(momentum),
  )


def _kernels(params: Any) -> Any:
  return jax.tree.map(lambda x: x.ndim > 1, params)

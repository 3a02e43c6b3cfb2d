"""A duration in steps, epochs or examples -> steps."""

import dataclasses
from typing import Literal

Unit = Literal["steps", "epochs", "examples"]
UNITS: tuple[Unit, ...] = ("steps", "epochs", "examples")


@dataclasses.dataclass(frozen=True)
class Duration:
  """A duration in one unit: `{"steps": 9}`, `{"epochs": 2}` or `{"examples": 1e6}`."""

  amount: float
  unit: Unit

  def steps(self, batch_size: int, train_examples: int) -> int:
    """The nearest whole number of steps, at least 1.

    Args:
      batch_size: examples a step, over all devices.
      train_examples: examples an epoch.
    """
    each = {"steps": batch_size, "epochs": train_examples, "examples": 1}[self.unit]
    return max(1, round(self.amount * each / batch_size))


@dataclasses.dataclass(frozen=True)
class Durations:
  """Several durations in one unit: `{"epochs": [4, 6, 8]}`."""

  amounts: tuple[float, ...]
  unit: Unit

  def steps(self, batch_size: int, train_examples: int) -> list[int]:
    """Each in steps; see `Duration.steps`."""
    durations = (Duration(amount, self.unit) for amount in self.amounts)
    return [one.steps(batch_size, train_examples) for one in durations]

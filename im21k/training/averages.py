"""Averages of weights along a run: the weights of its steps -> those that are used.

In come parameters and BatchNorm's moving statistics after a step. Out comes their
average, which is part of the state, and is what is scored and exported.
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from im21k import words
from im21k.training.durations import Duration
from im21k.training.keys import key
from im21k.training.values import Bounds
from im21k.weights.heads import HEAD

_EVERY = 8  # Steps: so the average costs less than 1 % of the steps' time on CPU.
_EARLY = 9  # An early average goes back over the last tenth of the run, or so.


class Average(struct.PyTreeNode):
  """The average so far: arrays, or their shapes, or their axes.

  Attributes:
    count: int32, how often weights were taken in; 0: there is no average yet.
    params, batch_stats: as in the state; of a frozen trunk nothing.
  """

  count: Any
  params: Any
  batch_stats: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Averaging:
  """How an average follows the weights.

  Attributes:
    every: steps between updates.
    share: least share of the newest weights in the average; 0: all count the same.
    begin: the step after which the average begins.
    head_only: the rest is frozen.
    text: a line that describes it.
  """

  every: int
  share: float
  begin: int = 0
  head_only: bool = False
  text: str = ""

  def init(self, params: Any, batch_stats: Any) -> Average:
    """An average of nothing."""
    tracked = self._tracked(params, batch_stats)
    return Average(jnp.zeros((), jnp.int32), *jax.tree.map(jnp.zeros_like, tracked))

  def update(
    self, average: Average, step: jax.Array, params: Any, batch_stats: Any
  ) -> Average:
    """The average after `step` steps, at whose end the weights are these.

    Weights that are no multiple of `every` pass it by. The first ones are taken as
    they are. The share of later ones falls as 9 / (9 + n) to `share`, so that the
    weights of the beginning are forgotten soon; as 1 / (1 + n), if all count the same.
    """
    tracked = self._tracked(params, batch_stats)
    # A run that was lengthened begins its tail anew.
    count = jnp.where(step <= self.begin, 0, average.count)
    average = average.replace(count=count)

    def taken(average: Average) -> Average:
      before = average.count.astype(jnp.float32)
      slow = _EARLY if self.share else 1
      share = jnp.maximum(self.share, slow / (slow + before))

      def of(old: jax.Array, new: jax.Array) -> jax.Array:
        old = jnp.where(before == 0, new, old)
        return old + share * (new - old)

      mixed = jax.tree.map(of, (average.params, average.batch_stats), tracked)
      return Average(average.count + 1, *mixed)

    due = (step > self.begin) & (step % self.every == 0)
    with jax.named_scope("average"):  # so that a plan knows that it is not always due
      result: Average = jax.lax.cond(due, taken, lambda same: same, average)
    return result

  def _tracked(self, params: Any, batch_stats: Any) -> tuple[Any, Any]:
    if self.head_only:
      return {HEAD: params[HEAD]}, {}
    return params, batch_stats

  def check(self, total: int) -> None:
    """ValueError if a run of `total` steps ends without an average."""
    if total // self.every <= self.begin // self.every:
      raise ValueError(
        f"average.every is {words.counted(self.every, 'step')}, but none of the "
        f"{total - self.begin} that are averaged is a multiple of it: lower it"
      )


def variables(state: Any, raw: bool = False) -> dict[str, Any]:
  """What is scored and exported of a state: its average, if there is one yet.

  Args:
    state: of the run.
    raw: take the weights of the last step in any case.
  """
  average = getattr(state, "average", None)
  if raw or average is None or not int(average.count):
    return {"params": state.params, "batch_stats": state.batch_stats}
  return {
    "params": {**state.params, **average.params},
    "batch_stats": average.batch_stats or state.batch_stats,
  }


def _every() -> Any:
  text = "Steps between updates of the average."
  return key(_EVERY, text, "steps", bounds=Bounds(1, 10**9))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Off:
  """No average: the weights of the last step are used."""

  name: ClassVar[str] = "none"

  def make(self, batch_size: int, train_examples: int, total: int) -> None:
    """There is nothing to make."""
    return


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ema:
  """Keys of an exponential moving average."""

  name: ClassVar[str] = "ema"
  horizon: Duration = key(
    Duration(0.5, "epochs"),
    "Age at which the weights of a step count 1 / e of the newest ones.",
  )
  every: int = _every()

  def make(self, batch_size: int, train_examples: int, total: int) -> Averaging:
    """With a decay of exp(-every / horizon), both in steps."""
    horizon = self.horizon.steps(batch_size, train_examples)
    return Averaging(
      every=self.every,
      share=-math.expm1(-self.every / horizon),
      text=f"moving, with a horizon of {words.counted(horizon, 'step')}",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tail:
  """Keys of an average in which all weights of the run's end count the same.

  Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
  Generalization".
  """

  name: ClassVar[str] = "tail"
  span: Duration = key(
    Duration(1, "epochs"), "Length of the end of the run whose weights are averaged."
  )
  every: int = _every()

  def make(self, batch_size: int, train_examples: int, total: int) -> Averaging:
    """Of the steps after the first `total` - `span`."""
    begin = max(0, total - self.span.steps(batch_size, train_examples))
    return Averaging(
      every=self.every,
      share=0.0,
      begin=begin,
      text=f"of all steps after step {begin:,}",
    )


AVERAGES: dict[str, type[Any]] = {one.name: one for one in (Off, Ema, Tail)}

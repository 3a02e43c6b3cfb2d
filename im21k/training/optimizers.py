"""The section `optimizer` of a config: the keys of each rule that makes updates.

`sgd` is the original's. Each variant's `make` gives its rule, which is in `optim`.
"""

import dataclasses
from typing import Any, ClassVar, Literal

import optax

from im21k import original
from im21k.training import optim
from im21k.training.groups import Groups
from im21k.training.keys import key, section
from im21k.training.values import Bounds

_SHARE = Bounds(0, 1, below=True)
_DECOUPLED = "Multiple of a parameter that is subtracted from it, times the rate."


def _decay() -> Any:
  return key("all", "Which parameters decay: all, as in the original, or kernels only.")


def _clip_norm() -> Any:
  return key(
    None,
    "Scale gradients down whose norm over all parameters is larger; none: never.",
    bounds=Bounds(0, above=True),
  )


def _b1() -> Any:
  return key(0.9, "Share of Adam's mean gradient that a step keeps.", bounds=_SHARE)


def _b2() -> Any:
  return key(0.999, "Share of Adam's mean square that a step keeps.", bounds=_SHARE)


def _epsilon(default: float) -> Any:
  return key(default, "Added to divisors.", bounds=Bounds(0, 1, above=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sgd:
  """Keys of `sgd`."""

  name: ClassVar[str] = "sgd"
  momentum: float = key(
    original.MOMENTUM,
    "Share of the last update that the next one keeps.",
    bounds=_SHARE,
  )
  weight_decay: float = key(
    original.WEIGHT_DECAY,
    "Multiple of a parameter added to its gradient.",
    bounds=Bounds(0),
  )
  decay: Literal["all", "kernels"] = _decay()
  nesterov: bool = key(
    False, "Look ahead along the momentum (Nesterov), as the original does not."
  )
  clip_norm: float | None = _clip_norm()
  groups: Groups = section(Groups())

  def make(
    self, schedule: optax.Schedule, trunk_rate: float = 1.0
  ) -> optax.GradientTransformation:
    """The rule; `trunk_rate` multiplies the rate outside the head."""
    return optim.sgd(
      schedule, self.momentum, self.weight_decay, self.decay, trunk_rate,
      nesterov=self.nesterov, clip_norm=self.clip_norm, groups=self.groups,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW:
  """Keys of AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101."""

  name: ClassVar[str] = "adamw"
  b1: float = _b1()
  b2: float = _b2()
  epsilon: float = _epsilon(1e-8)
  weight_decay: float = key(0.01, _DECOUPLED, bounds=Bounds(0))
  decay: Literal["all", "kernels"] = _decay()
  clip_norm: float | None = _clip_norm()
  groups: Groups = section(Groups())

  def make(
    self, schedule: optax.Schedule, trunk_rate: float = 1.0
  ) -> optax.GradientTransformation:
    """The rule; `trunk_rate` multiplies the rate outside the head."""
    return _decoupled(self, _adam(self), schedule, trunk_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lamb:
  """Keys of LAMB: You et al. 2020, arXiv:1904.00962.

  Adam's direction, and the decay in it, has in each array the norm of the parameter.
  """

  name: ClassVar[str] = "lamb"
  b1: float = _b1()
  b2: float = _b2()
  epsilon: float = _epsilon(1e-6)
  weight_decay: float = key(
    0.01,
    "Multiple of a parameter added to its direction, before that is scaled to the "
    "parameter's norm.",
    bounds=Bounds(0),
  )
  decay: Literal["all", "kernels"] = _decay()
  clip_norm: float | None = _clip_norm()
  groups: Groups = section(Groups())

  def make(
    self, schedule: optax.Schedule, trunk_rate: float = 1.0
  ) -> optax.GradientTransformation:
    """The rule; `trunk_rate` multiplies the rate outside the head."""
    return _decoupled(self, _adam(self), schedule, trunk_rate, trust_ratio=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Muon:
  """Keys of Muon for the trunk's kernels, with AdamW for the rest.

  Jordan 2024, kellerjordan.github.io/posts/muon: the momentum of a kernel, as a matrix
  of inputs (height · width · channels) by outputs, is replaced by a nearly orthogonal
  one. Head, biases and BatchNorm take AdamW's updates, as there.
  """

  name: ClassVar[str] = "muon"
  momentum: float = key(
    0.95, "Share of a kernel's mean gradient that a step keeps.", bounds=_SHARE
  )
  nesterov: bool = key(True, "Look ahead along the momentum of kernels (Nesterov).")
  ns_steps: int = key(
    5, "Newton-Schulz iterations that make a kernel's update orthogonal.",
    bounds=Bounds(1, 20),
  )  # fmt: skip
  rms: float | None = key(
    0.2, "Root mean square of a kernel's update at rate 1; 0.2 is about AdamW's, so "
    "that one rate suits both (arXiv:2502.16982). none: an orthogonal matrix times "
    "sqrt(max(1, outputs / inputs)).", bounds=Bounds(0, 1e6, above=True),
  )  # fmt: skip
  b1: float = _b1()
  b2: float = _b2()
  epsilon: float = _epsilon(1e-8)
  weight_decay: float = key(0.01, _DECOUPLED, bounds=Bounds(0))
  decay: Literal["all", "kernels"] = _decay()
  clip_norm: float | None = _clip_norm()
  groups: Groups = section(Groups())

  def make(
    self, schedule: optax.Schedule, trunk_rate: float = 1.0
  ) -> optax.GradientTransformation:
    """The rule; `trunk_rate` multiplies the rate outside the head."""
    orthogonal = optim.orthogonal(
      self.momentum, self.nesterov, self.ns_steps, self.epsilon, self.rms
    )
    return _decoupled(
      self, optim.of_kernels(orthogonal, _adam(self)), schedule, trunk_rate
    )


OPTIMIZERS: dict[str, type[Any]] = {one.name: one for one in (Sgd, AdamW, Lamb, Muon)}


def check_split(optimizer: Any) -> None:
  """ValueError if this rule needs the whole head, of which each device has a part."""
  if optimizer.name == Lamb.name:
    raise ValueError(
      "optimizer lamb needs the norm of the whole head on each device, and split_head "
      "divides it: set split_head to False, or optimizer.name to sgd, adamw or muon"
    )


def _adam(keys: Any) -> optax.GradientTransformation:
  return optax.scale_by_adam(keys.b1, keys.b2, keys.epsilon)


def _decoupled(
  keys: Any,
  direction: optax.GradientTransformation,
  schedule: optax.Schedule,
  trunk_rate: float,
  trust_ratio: bool = False,
) -> optax.GradientTransformation:
  return optim.decoupled(
    direction, schedule, keys.weight_decay, keys.decay, trunk_rate,
    clip_norm=keys.clip_norm, groups=keys.groups, trust_ratio=trust_ratio,
  )  # fmt: skip

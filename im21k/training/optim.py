"""Rules that make gradients into updates: the original's SGD, and others of optax."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from im21k import original
from im21k.training.groups import Groups, parts
from im21k.weights.heads import HEAD

_ALIKE = Groups()


def sgd(
  schedule: optax.Schedule,
  momentum: float = original.MOMENTUM,
  weight_decay: float = original.WEIGHT_DECAY,
  decay: str = "all",
  trunk_rate: float = 1.0,
  *,
  nesterov: bool = False,
  clip_norm: float | None = None,
  groups: Groups = _ALIKE,
) -> optax.GradientTransformation:
  """SGD as in MXNet: m = momentum · m − lr · (grad + weight_decay · w); w += m.

  The learning rate is inside the momentum, so a change of rate takes effect over
  several steps. `trunk_rate` multiplies it outside the head; see `optimizers.Sgd` for
  the other arguments. Gradients are clipped before the decay is added. With `nesterov`
  the step is momentum · m further along (Sutskever et al. 2013, in the form of
  PyTorch).
  """
  return optax.chain(
    *_clipped(clip_norm),
    _decayed(weight_decay, decay, groups),
    optax.scale_by_learning_rate(schedule),
    *_by_group(groups, trunk_rate),
    optax.trace(momentum, nesterov),
  )


def of_head(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
  """The same, with momentum for the head alone, whose gradients alone it is given."""
  return optax.GradientTransformation(
    lambda params: optimizer.init({HEAD: params[HEAD]}), optimizer.update
  )


def decoupled(
  direction: optax.GradientTransformation,
  schedule: optax.Schedule,
  weight_decay: float,
  decay: str = "all",
  trunk_rate: float = 1.0,
  *,
  clip_norm: float | None = None,
  groups: Groups = _ALIKE,
  trust_ratio: bool = False,
) -> optax.GradientTransformation:
  """w −= lr · (direction(gradient) + weight_decay · w), as in AdamW.

  Args:
    direction: of the update, from clipped gradients.
    schedule, weight_decay, decay, trunk_rate, clip_norm, groups: see `sgd`.
    trust_ratio: in each array, scale what the rate multiplies to the norm of the
      parameter, as in LAMB; where either norm is 0 it stays as it is.
  """
  rule = optax.chain(
    *_clipped(clip_norm),
    direction,
    _decayed(weight_decay, decay, groups),
    *([optax.scale_by_trust_ratio()] if trust_ratio else []),
    optax.scale_by_learning_rate(schedule),
    *_by_group(groups, trunk_rate),
  )

  def update(updates: Any, state: Any, params: Any = None) -> Any:
    # optax takes a float to the power of the step.
    with jax.numpy_dtype_promotion("standard"):
      return rule.update(updates, state, params)

  return optax.GradientTransformation(rule.init, update)


def orthogonal(
  momentum: float, nesterov: bool, ns_steps: int, epsilon: float, rms: float | None
) -> optax.GradientTransformation:
  """Muon's direction: the momentum of each kernel, nearly orthogonal, as a matrix.

  Args:
    momentum, nesterov, ns_steps, epsilon: see `optimizers.Muon`. The matrix of a kernel
      `[…, outputs]` has its other axes together in rows.
    rms: root mean square that the values of an orthogonal matrix are brought to; None:
      it is multiplied by √max(1, outputs / inputs).
  """

  def scaled(update: jax.Array) -> jax.Array:
    outputs = update.shape[-1]
    inputs = update.size // outputs
    if rms is None:
      return update * math.sqrt(max(1.0, outputs / inputs))
    # Of an orthogonal matrix it is 1 / √ of the longer side.
    return update * (rms * math.sqrt(max(inputs, outputs)))

  return optax.chain(
    contrib.scale_by_muon(
      ns_steps=ns_steps, beta=momentum, eps=epsilon, nesterov=nesterov,
      weight_dimension_numbers=_as_matrices,
    ),
    optax.stateless(lambda updates, _: jax.tree.map(scaled, updates)),
  )  # fmt: skip


def of_kernels(
  rule: optax.GradientTransformation, others: optax.GradientTransformation
) -> optax.GradientTransformation:
  """A rule for the trunk's kernels, and another for the head and all that is small."""

  def labels(params: Any) -> Any:
    return jax.tree.map(
      lambda part: "kernels" if part == "kernels" else "others", parts(params)
    )

  # No label may be `head`: what a state holds by that name is split with the head.
  return optax.partition({"kernels": rule, "others": others}, labels)


def _clipped(norm: float | None) -> list[optax.GradientTransformation]:
  return [] if norm is None else [optax.clip_by_global_norm(norm)]


def _decayed(
  weight_decay: float, decay: str, groups: Groups
) -> optax.GradientTransformation:
  if decay not in ("all", "kernels"):
    raise ValueError(f"decay is {decay!r}, but must be 'all' or 'kernels'")
  mask = None if decay == "all" else _kernels
  if not groups.changes_decays:
    return optax.add_decayed_weights(weight_decay, mask)

  def add(updates: Any, params: Any) -> Any:
    def one(update: jax.Array, parameter: jax.Array, multiple: float) -> jax.Array:
      decays = multiple and (decay == "all" or parameter.ndim > 1)
      return update + weight_decay * multiple * parameter if decays else update

    return jax.tree.map(one, updates, params, groups.decays(params))

  return optax.stateless(add)


def _by_group(groups: Groups, trunk_rate: float) -> list[optax.GradientTransformation]:
  if not groups.changes_rates:
    return [optax.masked(optax.scale(trunk_rate), _trunk)] if trunk_rate != 1 else []

  def scale(updates: Any, _: Any) -> Any:
    return jax.tree.map(jnp.multiply, updates, groups.rates(updates, trunk_rate))

  return [optax.stateless(scale)]


def _as_matrices(kernels: Any) -> Any:
  """Inputs by outputs, for each kernel `[…, outputs]`."""
  return jax.tree.map(
    lambda x: contrib.MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1),
    kernels,
  )


def _trunk(params: Any) -> Any:
  """True for every parameter but the head's."""
  return {
    name: jax.tree.map(lambda _, trunk=name != HEAD: trunk, part)
    for name, part in params.items()
  }


def _kernels(params: Any) -> Any:
  return jax.tree.map(lambda x: x.ndim > 1, params)

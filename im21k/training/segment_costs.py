"""A model and its photos -> what each segment keeps and computes.

Nothing runs and nothing is compiled: the figures are those of the traced operations.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from jax.extend import core

from im21k.models import remat


@dataclasses.dataclass(frozen=True)
class Cost:
  """Of a segment on one device.

  Attributes:
    kept: bytes that stay in memory until its backward pass, by policy.
    workspace: bytes that its backward pass needs beside what earlier segments keep.
    gradients: bytes of its parameters' gradients.
    flops: of its products and convolutions, two for each multiplication.
  """

  kept: Mapping[str, int]
  workspace: int
  gradients: int
  flops: int


def measure(model: nn.Module, state: Any, images: Any) -> list[Cost]:
  """The cost of each segment, in the forward order; the last is the head.

  Args:
    model: with fields `observe` and `remat`.
    state: with parameters and statistics, or their shapes.
    images: shape of the photos of one device.
  """
  seen: list[remat.Observed] = []
  observing = model.clone(
    observe=seen.append, reduce=None, remat="none", bn_axis_name=None
  )

  def forward(variables: Any, images: Any) -> Any:
    return observing.apply(variables, images, train=True, mutable=["batch_stats"])

  variables = {"params": state.params, "batch_stats": state.batch_stats}
  jax.eval_shape(forward, variables, images)
  return [_cost(one) for one in seen]


def _cost(one: remat.Observed) -> Cost:
  def forward(params: Any, statistics: Any, x: Any) -> Any:
    y, pullback, _ = jax.vjp(
      lambda params, x: one.pure(params, statistics, x), params, x, has_aux=True
    )
    return y, jax.tree.leaves(pullback)

  traced = jax.make_jaxpr(forward)(one.params, one.statistics, one.x).jaxpr
  given = set(traced.invars[:-1])
  output, *saved = traced.outvars
  # What the backward pass reads, each tensor once.
  read = {v for v in saved if isinstance(v, core.Var)} - given
  convolved = [v for each in traced.eqns if _named(each) for v in each.outvars]
  size, entered = sum(map(_bytes, read)), _bytes(one.x)
  tensors = [_bytes(v) for each in traced.eqns for v in each.outvars]
  return Cost(
    kept={
      "none": size,
      "norm": min(size, entered + sum(map(_bytes, convolved))),
      "block": entered,
    },
    # All is there again; the gradients of its output and of its largest tensor come.
    workspace=size + _bytes(output) + max(tensors),
    gradients=sum(map(_bytes, jax.tree.leaves(one.params))),
    flops=sum(map(_flops, _equations(traced.eqns))),
  )


def _named(one: core.JaxprEqn) -> bool:
  """Whether it names a tensor that policy `norm` keeps."""
  kept = remat.POLICIES["norm"] or ()
  return one.primitive.name == "name" and one.params["name"] in kept


def _equations(equations: Sequence[core.JaxprEqn]) -> Iterator[core.JaxprEqn]:
  """These and those of inner functions; of one branch, where there are some."""
  for one in equations:
    yield one
    if one.primitive.name == "cond":  # of platforms, which compute the same
      yield from _equations(one.params["branches"][-1].jaxpr.eqns)
    else:
      for inner in core.jaxprs_in_params(one.params):
        yield from _equations(inner.eqns)


def _flops(one: core.JaxprEqn) -> int:
  """Of a product or a convolution; 0 for the rest."""
  if one.primitive.name == "dot_general":
    (contracted, _), _ = one.params["dimension_numbers"]
    inner = math.prod(_shape(one.invars[0])[axis] for axis in contracted)
  elif one.primitive.name == "conv_general_dilated":
    kernel, spec = _shape(one.invars[1]), one.params["dimension_numbers"].rhs_spec
    inner = math.prod(kernel) // kernel[spec[0]]
  else:
    return 0
  return int(2 * math.prod(_shape(one.outvars[0])) * inner)


def _shape(one: Any) -> tuple[int, ...]:
  shape: tuple[int, ...] = one.aval.shape
  return shape


def _bytes(one: Any) -> int:
  shaped = getattr(one, "aval", one)
  return int(math.prod(shaped.shape) * shaped.dtype.itemsize)

"""Backprop segment by segment: what is recomputed, and in which order.

In: Flax modules, a policy, and a function that reduces gradients over devices. Out: the
same computation, whose backward pass runs in segments. A segment is a part of the stem
up to its pool, a block, or the head. Its backward pass takes the cotangent of its
output, recomputes what was not kept, gives the gradient of its parameters to `reduce`,
and returns the cotangent of its input.

Left to itself XLA recomputes early what is needed late, and half of the saved memory is
lost. Dependency tokens make an order: see `order`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from im21k.models.order import after, token
from im21k.models.registry import nearest

# Policy -> names of the tensors kept from the forward pass, besides each segment's
# input; None keeps all that backprop needs.
POLICIES: dict[str, tuple[str, ...] | None] = {
  "none": None,
  "norm": ("conv",),  # recomputes BatchNorm, ReLU and pools, but no convolution
  "block": (),  # recomputes everything
}

Remat = str | Mapping[str, str]

# Segments that backprop runs while a gradient is being reduced, before it waits for the
# result: of more than 32 MiB, which is the head's, and of less. The head's 89 MB take
# 13 ms at 10 GB/s between four cards; at 16 images a GPU each of the next segments
# takes 3 ms on a card that needs 4 GB.
LONG_LAG, LAG = 6, 4
_LONG = 32 << 20

Tokens = tuple[jax.Array, ...]
# A layer of a segment: a module, bound but not called yet, and what applies it and
# operations without parameters after it.
Layer = tuple[nn.Module, Callable[[nn.Module, jax.Array], jax.Array]]
# Parameters, statistics and input -> output and new statistics.
Pure = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]
_STATISTICS = "batch_stats"


def policies(remat: Any, segments: Sequence[str]) -> dict[str, str]:
  """The policy of each segment; those that a mapping does not name keep everything.

  Args:
    remat: a policy for all segments, or a mapping of segments to policies.
    segments: the names of all segments.

  Raises:
    ValueError: there is no such policy or segment; the message offers the nearest.
  """
  if isinstance(remat, str):
    _check(remat, POLICIES, "remat is")
    return dict.fromkeys(segments, remat)
  if not isinstance(remat, Mapping):
    raise ValueError(f"remat is {remat!r}{nearest('', tuple(POLICIES))}")
  for name, policy in remat.items():
    _check(name, segments, "remat names the segment")
    _check(policy, POLICIES, f"remat of segment {name} is")
  return {name: remat.get(name, "none") for name in segments}


def canonical(remat: Any, segments: Sequence[str]) -> Remat:
  """The one form of what has the same `policies`: a name, if all have the same.

  Otherwise a mapping, which can be hashed, of the segments that do not keep everything.
  """
  chosen = policies(remat, segments)
  if len(set(chosen.values())) == 1:
    return chosen[segments[0]]
  return FrozenDict({name: each for name, each in chosen.items() if each != "none"})


def shown(remat: Any) -> str:
  """A policy, or a mapping as it is typed on a command line: `conv1=block,3a=norm`."""
  if isinstance(remat, str):
    return remat
  return ",".join(f"{name}={policy}" for name, policy in remat.items())


def _check(value: Any, known: Iterable[str], what: str) -> None:
  if not isinstance(value, str) or value not in known:
    raise ValueError(f"{what} {value!r}{nearest(str(value)[:80], tuple(known))}")


class Observed(NamedTuple):
  """A segment as a computation, and the shapes of its arguments."""

  pure: Pure
  params: Any
  statistics: Any
  x: Any


class Segments:
  """Runs segments in turn, in the forward order, and carries their tokens.

  Args:
    reduce: applied to the gradients of each segment's parameters within the backward
      pass, typically a mean over devices; None leaves them as they are.
    observe: called with each segment; see `Observed`.
  """

  def __init__(
    self,
    reduce: Callable[[Any], Any] | None,
    observe: Callable[["Observed"], None] | None = None,
  ):
    self._reduce, self._observe = reduce, observe
    # The first backward pass, that of the last segment, waits for nothing.
    self._tokens: Tokens = _no_tokens()
    self._first = True

  def run(self, layers: Sequence[Layer], x: jax.Array, policy: str) -> jax.Array:
    """Applies layers one after another, as the next segment; see `segment`."""
    modules = {str(module.name): module for module, _ in layers}
    params, statistics = (
      {name: module.variables.get(kind, {}) for name, module in modules.items()}
      for kind in ("params", _STATISTICS)
    )
    if self._observe:
      pure = _in_turn(layers, "none")
      self._observe(Observed(pure, *_shapes((params, statistics, x))))
    run = segment(_in_turn(layers, policy), policy, self._reduce, self._first)
    self._first = False
    x, updated, self._tokens = run(params, statistics, x, self._tokens)
    for name, module in modules.items():
      for key, value in updated[name].items():
        module.put_variable(_STATISTICS, key, value)
    return x


def segment(
  pure: Pure,
  policy: str,
  reduce: Callable[[Any], Any] | None = None,
  first: bool = False,
) -> Callable[[Any, Any, jax.Array, Tokens], tuple[jax.Array, Any, Tokens]]:
  """Adds tokens to arguments and results of `pure`, and a backward pass of its own.

  Tokens pass through the forward pass unchanged. Their cotangents carry the order of
  the backward passes: first that of the last segment's gradients, then those of the
  reductions, in the order in which they are awaited, the last one first.

  Args:
    pure: the computation; its input may be whole numbers, which have no gradient.
    policy: one of POLICIES. What it does not keep is recomputed once the cotangent of
      the output is available, and not before.
    reduce: as in `Segments`. Backprop waits for its result `LAG` segments later.
    first: whether it is the first segment, whose backward pass is the last. Its
      gradients are reduced after those before them: else XLA starts these so late that
      nothing is left to run beside them.
  """
  names = POLICIES[policy]
  lean = pure
  if names is not None:
    kept = jax.checkpoint_policies.save_only_these_names(*names)
    # The order keeps XLA from merging both computations, better than prevent_cse.
    lean = jax.checkpoint(pure, prevent_cse=False, policy=kept)

  @jax.custom_vjp
  def run(params: Any, statistics: Any, x: jax.Array, tokens: Tokens) -> Any:
    return *pure(params, statistics, x), tokens

  def forward(params: Any, statistics: Any, x: jax.Array, tokens: Tokens) -> Any:
    y, pullback, updated = jax.vjp(
      lambda params, x: lean(params, statistics, x), params, x, has_aux=True
    )
    return (y, updated, tokens), pullback

  def backward(pullback: Any, cotangents: Any) -> Any:
    dy, _, tokens = cotangents
    if names is None:
      dy = after(dy, tokens[0], tokens[-1])
    else:
      # Else XLA keeps the terms of dy, one for each branch that read y, until the
      # recomputation is done, and adds them up then.
      dy = jax.lax.optimization_barrier(dy)
      pullback = after(pullback, token(dy), tokens[0], tokens[-1])
    gradients, dx = pullback(dy)
    order = token(gradients)
    if reduce and first:
      gradients = after(gradients, tokens[1], tokens[1 + LONG_LAG - LAG])
    reduced = reduce(gradients) if reduce else gradients
    awaited = [jnp.zeros(()), *tokens[1:-1]]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(gradients))
    awaited[0 if size > _LONG else LONG_LAG - LAG] += token(reduced)
    return reduced, None, dx, (order, *awaited)

  run.defvjp(forward, backward)
  return run


def _no_tokens() -> Tokens:
  return (jnp.zeros(()),) * (1 + LONG_LAG)


def _shapes(tree: Any) -> Any:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _in_turn(layers: Sequence[Layer], policy: str) -> Pure:
  """Layers as a function of their variables, by the names of their modules.

  Where nothing is kept, each layer but the last is a segment within the segment: its
  inner tensors are recomputed once more, when backprop has passed the layers after it.
  """
  *first, last = [_free(*layer) for layer in layers]
  if policy == "block":
    tokens = _no_tokens()
    first = [(name, _without(tokens, segment(pure, policy))) for name, pure in first]

  def pure(params: Any, statistics: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    updated = {}
    for name, layer in (*first, last):
      x, updated[name] = layer(params[name], statistics[name], x)
    return x, updated

  return pure


def _free(
  module: nn.Module, call: Callable[[nn.Module, jax.Array], jax.Array]
) -> tuple[str, Pure]:
  """A layer as a function of its variables, with its name."""
  apply = nn.apply(call, module.clone(parent=None), mutable=[_STATISTICS])

  def pure(params: Any, statistics: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    y, updated = apply({"params": params, _STATISTICS: statistics}, x)
    return y, updated.get(_STATISTICS, {})

  return str(module.name), pure


def _without(tokens: Tokens, run: Any) -> Pure:
  """A segment as a computation that takes and gives no tokens."""

  def pure(params: Any, statistics: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    y, updated, _ = run(params, statistics, x, tokens)
    return y, updated

  return pure

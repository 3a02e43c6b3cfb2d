"""Backprop segment by segment: what is recomputed, and in which order.

In: a Flax module, a policy, and a function that reduces gradients over devices. Out:
the same computation, whose backward pass runs in segments. A segment is a layer of the
stem with its pool, a block, or the head. Its backward pass takes the cotangent of its
output, recomputes what was not kept, gives the gradient of its parameters to `reduce`,
and returns the cotangent of its input.

XLA issues an instruction as soon as its operands are available, so the only order that
it keeps is that of the data (it drops `optimization_barrier` before scheduling). Left
to itself it recomputes early what is needed late, and half of the saved memory is lost.
Dependency tokens make an order: single bits of arrays that must be available first.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

# Policy -> names of the tensors kept from the forward pass, besides each segment's
# input; None keeps all that backprop needs.
POLICIES: dict[str, tuple[str, ...] | None] = {
  "none": None,
  "norm": ("conv",),  # recomputes BatchNorm, ReLU and pools, but no convolution
  "block": (),  # recomputes everything
}

# Segments that backprop runs while a gradient is being reduced, before it waits for the
# result. The head's 89 MB take 9 ms at 10 GB/s; each segment of the trunk takes 3 ms or
# more on a card that needs 4 GB.
LAG = 4

Tokens = tuple[jax.Array, ...]


def token(tree: Any) -> jax.Array:
  """A float32 scalar that is available once the largest array of `tree` is."""
  leaf: jax.Array = max(jax.tree.leaves(tree), key=lambda x: x.size)
  return leaf[(0,) * leaf.ndim].astype(jnp.float32)


def after(tree: Any, *tokens: jax.Array) -> Any:
  """Returns `tree`, bit by bit the same, but not available before the tokens are.

  Each array is selected by a comparison that holds for every bit pattern, NaN included,
  so no value of a token can reach the tree; XLA cannot prove that it always holds. It
  costs a pass over each array where XLA cannot fuse the selection into its reader.
  """
  bits = [jax.lax.bitcast_convert_type(t, jnp.uint32) & 1 for t in tokens]
  holds = sum(bits[1:], bits[0]) <= len(bits)
  return jax.tree.map(lambda x: jnp.where(holds, x, jnp.zeros_like(x)), tree)


class Segments:
  """Runs segments in turn, in the forward order, and carries their tokens.

  Args:
    reduce: applied to the gradients of each segment's parameters within the backward
      pass, typically a mean over devices; None leaves them as they are.
  """

  def __init__(self, reduce: Callable[[Any], Any] | None):
    self._reduce = reduce
    # The first backward pass, that of the last segment, waits for nothing.
    self._tokens: Tokens = (jnp.zeros(()),) * (1 + LAG)

  def run(
    self,
    call: Callable[[nn.Module, jax.Array], jax.Array],
    module: nn.Module,
    x: jax.Array,
    policy: str,
  ) -> jax.Array:
    """Returns `call(module, x)` as the next segment; see `segment`."""
    x, self._tokens = segment(call, module, policy, self._reduce)(x, self._tokens)
    return x


def segment(
  call: Callable[[nn.Module, jax.Array], jax.Array],
  module: nn.Module,
  policy: str,
  reduce: Callable[[Any], Any] | None = None,
) -> Callable[[jax.Array, Tokens], tuple[jax.Array, Tokens]]:
  """Turns `call(module, x)` into `(x, tokens) -> (y, tokens)` with its own backward.

  Tokens pass through the forward pass unchanged. Their cotangents carry the order of
  the backward passes: those of the last segment's gradients and of the reductions of
  the last `LAG` segments, newest first.

  Args:
    call: applies the module, and operations without parameters after it.
    module: bound, but not called yet.
    policy: one of POLICIES. What it does not keep is recomputed once the cotangent of
      the output is available, and not before.
    reduce: as in `Segments`. Backprop waits for its result `LAG` segments later.
  """
  names = POLICIES[policy]
  if names is None:
    lean = call
  else:
    kept = jax.checkpoint_policies.save_only_these_names(*names)
    # The order keeps XLA from merging both computations, better than prevent_cse.
    lean = nn.remat(call, prevent_cse=False, policy=kept)

  def run(module: nn.Module, x: jax.Array, tokens: Tokens) -> Any:
    return call(module, x), tokens

  def forward(module: nn.Module, x: jax.Array, tokens: Tokens) -> Any:
    y, pullback = nn.vjp(lean, module, x)
    return (y, tokens), pullback

  def backward(pullback: Any, cotangents: Any) -> Any:
    dy, tokens = cotangents
    if names is None:
      dy = after(dy, tokens[0], tokens[-1])
    else:
      pullback = after(pullback, token(dy), tokens[0], tokens[-1])
    gradients, dx = pullback(dy)
    reduced = reduce(gradients) if reduce else gradients
    return reduced, dx, (token(gradients), token(reduced), *tokens[1:-1])

  lifted = nn.custom_vjp(run, forward, backward)
  return lambda x, tokens: lifted(module, x, tokens)

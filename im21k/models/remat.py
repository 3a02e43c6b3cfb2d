"""Backprop segment by segment: what it computes again, when, and what is told of it.

A segment is a layer of the stem with its pool, a block, or the head. Its own backward
pass gets the cotangent of its output, computes again what was not kept, gives the
gradient of its parameters to `reduce`, and passes the cotangent of its input on.

XLA issues an instruction when its operands are there, so the only order that it keeps
is that of the data (an `optimization_barrier` is gone before it schedules). Left alone
it computes early what is needed late, and keeps it: of the memory that is won here,
half would be lost again. `behind` makes such an order out of single bits.
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
  "norm": ("conv",),  # BatchNorm, ReLU and pools are computed again: no convolution
  "block": (),  # everything is
}

# While a reduced gradient is under way, backprop goes on through so many segments
# before it waits. The head's 89 MB take 9 ms at 10 GB/s; each segment of the trunk
# takes 3 ms or more on a card that needs 4 GB.
LAG = 4

Signs = tuple[jax.Array, ...]


def no_signs() -> Signs:
  """What the last segment's backward has to wait for: nothing."""
  return (jnp.zeros(()),) * (1 + LAG)


def sign(tree: Any) -> jax.Array:
  """A float32 scalar that is there when the largest array of `tree` is there."""
  leaf = max(jax.tree.leaves(tree), key=lambda x: x.size)
  return leaf[(0,) * leaf.ndim].astype(jnp.float32)


def behind(tree: Any, *signs: jax.Array) -> Any:
  """`tree`, bit by bit the same, but not before `signs` are there.

  Each array is selected by a comparison that holds for every bit pattern, NaN included,
  so no value of a sign can reach the tree; XLA does not see that it always holds. It
  costs a pass over each array where XLA cannot fuse the selection into its reader.
  """
  bits = [jax.lax.bitcast_convert_type(s, jnp.uint32) & 1 for s in signs]
  holds = sum(bits[1:], bits[0]) <= len(bits)
  return jax.tree.map(lambda x: jnp.where(holds, x, jnp.zeros_like(x)), tree)


def segment(
  call: Callable[[nn.Module, jax.Array], jax.Array],
  module: nn.Module,
  policy: str,
  reduce: Callable[[Any], Any] | None = None,
) -> Callable[[jax.Array, Signs], tuple[jax.Array, Signs]]:
  """`call(module, x)` as `(x, signs) -> (y, signs)`, with the backward told above.

  Args:
    call: applies the module, and whatever needs no parameters after it.
    module: bound, but not called yet.
    policy: one of POLICIES. What it does not keep is computed again when the cotangent
      of the output is there, and not before.
    reduce: applied to the parameters' gradients within the backward pass, typically a
      mean over devices. Backprop waits for its result `LAG` segments later.
  """
  names = POLICIES[policy]
  if names is None:
    lean = call
  else:
    kept = jax.checkpoint_policies.save_only_these_names(*names)
    # The order keeps XLA from merging both computations, better than prevent_cse.
    lean = nn.remat(call, prevent_cse=False, policy=kept)

  def run(module: nn.Module, x: jax.Array, signs: Signs) -> Any:
    return call(module, x), signs

  def forward(module: nn.Module, x: jax.Array, signs: Signs) -> Any:
    y, pullback = nn.vjp(lean, module, x)
    return (y, signs), pullback

  def backward(pullback: Any, cotangents: Any) -> Any:
    dy, signs = cotangents
    if names is None:
      dy = behind(dy, signs[0], signs[-1])
    else:
      pullback = behind(pullback, sign(dy), signs[0], signs[-1])
    gradients, dx = pullback(dy)
    reduced = reduce(gradients) if reduce else gradients
    return reduced, dx, (sign(gradients), sign(reduced), *signs[1:-1])

  lifted = nn.custom_vjp(run, forward, backward)
  return lambda x, signs: lifted(module, x, signs)

"""An order of computations, by data: what must be available before what.

XLA issues an instruction as soon as its operands are available, so the only order that
it keeps is that of the data (it drops `optimization_barrier` before scheduling). A
token is a value of an array that must be available first; of it a single bit is used.
"""

from typing import Any

import jax
import jax.numpy as jnp


def token(tree: Any) -> jax.Array:
  """A float32 scalar that is available once all arrays of `tree` are."""
  leaves = jax.tree.leaves(tree)
  total: jax.Array = sum(leaf[(0,) * leaf.ndim].astype(jnp.float32) for leaf in leaves)
  return total


def after(tree: Any, *tokens: jax.Array) -> Any:
  """Returns `tree`, bit by bit the same, but not available before the tokens are.

  Each array is selected by a comparison that holds for every bit pattern, NaN included,
  so no value of a token can reach the tree; XLA cannot prove that it always holds. It
  costs a pass over each array where XLA cannot fuse the selection into its reader.
  """
  bits = [jax.lax.bitcast_convert_type(t, jnp.uint32) & 1 for t in tokens]
  holds = sum(bits[1:], bits[0]) <= len(bits)
  return jax.tree.map(lambda x: jnp.where(holds, x, jnp.zeros_like(x)), tree)

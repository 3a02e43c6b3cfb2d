"""Hierarchy, temperature and λ -> hedged answers as a part of a program.

In: logits, as jax arrays. Out: what `im21k predict --answer hedged` answers, by number:
the program holds no names. Only gathers, sums and an argmax are needed, which every
runtime has.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from im21k.synsets.hierarchy import Hierarchy

_Groups = tuple[tuple[Int32[np.ndarray, "nodes below"], ...], Int32[np.ndarray, " n"]]


@dataclasses.dataclass(frozen=True)
class Hedging:
  """Hedged answers over a hierarchy; see `answers.rules.hedged`.

  Attributes:
    hierarchy: over the classes.
    temperature: divides the logits.
    accuracy: that was asked for; λ was calibrated for it.
    lambda_: λ, bits.
  """

  hierarchy: Hierarchy
  temperature: float
  accuracy: float
  lambda_: float

  def __call__(self, logits: jax.Array) -> dict[str, jax.Array]:
    """Logits `[b, classes]` -> `probabilities`, `node` and `node_probability`."""
    probabilities = jax.nn.softmax(logits / np.float32(self.temperature), axis=-1)
    groups, order = self._groups()
    padded = jnp.pad(probabilities, ((0, 0), (0, 1)))  # A class without mass.
    sums = [_taken(padded, group).sum(-1) for group in groups]
    nodes = _taken(jnp.concatenate(sums, axis=1), order)
    node = jnp.argmax(nodes * self.reward()[None], axis=1).astype(jnp.int32)
    number = np.arange(len(self.hierarchy.ids), dtype=np.int32)
    best = number[None] == node[:, None]
    chosen = jnp.where(best, nodes, jnp.float32(0)).sum(1)
    return {
      "probabilities": probabilities,
      "node": node,
      "node_probability": jnp.minimum(chosen, jnp.float32(1)),
    }

  def reward(self) -> Float[np.ndarray, " nodes"]:
    """(information + λ) of each node, scaled to at most 1; float32."""
    reward = (self.hierarchy.information + self.lambda_).astype(np.float32)
    scaled: Float[np.ndarray, " nodes"] = reward / reward.max()
    return scaled

  def below(self) -> tuple[Int32[np.ndarray, " pairs"], Int32[np.ndarray, " pairs"]]:
    """All pairs of a node and a class at or below it: nodes, and classes."""
    count = len(self.hierarchy.ids)
    below = [self.hierarchy.below(node) for node in range(count)]
    nodes = np.repeat(np.arange(count, dtype=np.int32), [len(some) for some in below])
    return nodes, np.concatenate(below).astype(np.int32)

  def description(self) -> dict[str, Any]:
    """What the answers mean, as plain data."""
    nodes = range(len(self.hierarchy.ids))
    return {
      "temperature": self.temperature,
      "accuracy": self.accuracy,
      "lambda": self.lambda_,
      "note": "node indexes nodes: the most specific term that is right as often as "
      "accuracy says; node_probability is its probability",
      "nodes": {
        "ids": list(self.hierarchy.ids),
        "names": [self.hierarchy.name(node) for node in nodes],
      },
    }

  def _groups(self) -> _Groups:
    """Classes below the nodes, as rectangles; and each node's place among their rows.

    Nodes with up to 1, 2, 4, … classes have a rectangle each, filled up with a class
    beyond the last: less than half of it is filling.
    """
    counts = self.hierarchy.count
    width = np.maximum(1, 2 ** np.ceil(np.log2(counts)).astype(int))
    rectangles, rows = [], []
    for each in np.unique(width):
      members = np.flatnonzero(width == each)
      filling = len(self.hierarchy.label_node)
      rectangle = np.full((len(members), each), filling, np.int32)
      for row, node in enumerate(members):
        rectangle[row, : counts[node]] = self.hierarchy.below(int(node))
      rectangles.append(rectangle)
      rows.append(members)
    return tuple(rectangles), np.argsort(np.concatenate(rows)).astype(np.int32)


def _taken(x: jax.Array, columns: Int32[np.ndarray, "*n"]) -> jax.Array:
  """Columns of `[b, n]`, all of which exist."""
  return jnp.take(x, columns, axis=1, mode="clip")

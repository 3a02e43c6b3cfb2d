"""Losses that know which classes are near each other: see `losses` for their keys.

A loss takes logits `[b, classes]` and labels int `[b]` and gives a value `[b]`. No
array is larger than `[b, classes]` or `[b, nodes]`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from im21k.synsets.hierarchy import Hierarchy
from im21k.training.flat_losses import Loss, cross_entropy

# Upper bound of a level's weight: the deepest levels have few classes.
_MOST_WEIGHT = 20.0


def semantic_softmax(hierarchy: Hierarchy, flat: float) -> Loss:
  """A softmax over the classes of each level, and the usual one over all classes.

  Ridnik et al. 2021, "ImageNet-21K Pretraining for the Masses": a photo of a class is
  one of each class above it, too, so it has a right answer in the softmax of its own
  level and of those above; the levels below say nothing. A level is the depth of a
  class, by the longest way from the root; its weight is 1 / the share of classes that
  have an answer there, at most 20, over the number of levels. Where several hypernyms
  lead to several classes of one level, they share the answer.

  Args:
    hierarchy: of the classes.
    flat: share of the usual cross-entropy. The levels alone leave open which level to
      answer at, so with 0 the logits of two levels cannot be compared.
  """
  if not 0 <= flat <= 1:
    raise ValueError(f"loss.flat is {flat}, but must be from 0 to 1")
  _, level = np.unique(hierarchy.depth[hierarchy.label_node], return_inverse=True)
  classes, levels = len(level), int(level.max()) + 1
  label_of = np.full(len(hierarchy.ids), -1)
  label_of[hierarchy.label_node] = np.arange(classes)
  above = [
    (labels := label_of[hierarchy.above(label)])[labels >= 0]
    for label in range(classes)
  ]
  answers = np.stack([np.bincount(level[some], minlength=levels) for some in above])
  weight = np.minimum(_MOST_WEIGHT, 1 / (answers > 0).mean(0)) / levels
  weights = jnp.asarray((answers > 0) * weight, jnp.float32)
  share = [
    weight[level[some]] / answers[i, level[some]] for i, some in enumerate(above)
  ]
  above_table = jnp.asarray(_padded(above, 0))
  share_table = jnp.asarray(_padded(share, 0.0), jnp.float32)
  in_level = jax.nn.one_hot(level, levels, dtype=jnp.float32)

  def loss(logits: jax.Array, label: jax.Array) -> jax.Array:
    largest = _largest(logits, level, levels)
    exponents = jnp.exp(logits - largest[:, level])
    total = jnp.matmul(exponents, in_level, precision=jax.lax.Precision.HIGHEST)
    normalizer = jnp.log(total) + largest
    right = jnp.take_along_axis(logits, above_table[label], axis=1)
    by_level = (weights[label] * normalizer).sum(-1) - (share_table[label] * right).sum(
      -1
    )
    return flat * cross_entropy(logits, label) + (1 - flat) * by_level

  return loss


def smoothed(hierarchy: Hierarchy, beta: float) -> Loss:
  """Cross-entropy with labels smoothed by distance: a class counts exp(−β · distance).

  Bertinetto et al. 2020, "Making Better Mistakes", soft labels: the distance of two
  classes is the height of the lowest node above both over that of the root, heights
  counted in edges of the longest way down; of a class to itself it is 0.

  exp(−β · distance) is written as a sum over the nodes above both: each adds what its
  own exceeds that of its lowest hypernym by. In a tree that is the same. A DAG needs no
  lowest node then: two hypernyms bring classes nearer than either. So an example's
  labels come from its own few nodes, and no table of classes by classes is needed.

  Args:
    hierarchy: of the classes.
    beta: the greater, the nearer to the usual cross-entropy; above 0.
  """
  if not beta > 0:
    raise ValueError(f"loss.beta is {beta}, but must be above 0")
  nodes, classes = len(hierarchy.ids), len(hierarchy.label_node)
  node_share = _exceeding(hierarchy, beta)
  above = [hierarchy.above(label) for label in range(classes)]
  own = 1 - _closeness(hierarchy, beta)[hierarchy.label_node]
  total = own + [(node_share * hierarchy.count)[some].sum() for some in above]
  above_table = jnp.asarray(_padded(above, nodes))  # A node that nobody has.
  share_table = jnp.asarray(np.append(node_share, 0), jnp.float32)
  own_table, total_table = (jnp.asarray(x, jnp.float32) for x in (own, total))

  def targets(label: jax.Array) -> jax.Array:
    rows = jnp.arange(len(label))
    mine = above_table[label]
    given = jnp.zeros((len(label), nodes + 1))
    given = given.at[rows[:, None], mine].set(share_table[mine])
    labels, _ = jax.lax.scan(
      lambda sum_, column: (sum_ + given[:, column], None),
      jnp.zeros((len(label), classes)).at[rows, label].set(own_table[label]),
      above_table.T,
    )
    return labels / total_table[label][:, None]

  def loss(logits: jax.Array, label: jax.Array) -> jax.Array:
    return -(targets(label) * jax.nn.log_softmax(logits)).sum(-1)

  return loss


def _closeness(hierarchy: Hierarchy, beta: float) -> npt.NDArray[np.float64]:
  """exp(−β · height / height of the highest), for each node."""
  height: npt.NDArray[np.float64] = np.zeros(len(hierarchy.ids))
  for node, parents in enumerate(hierarchy.parents):  # Hypernyms come after.
    for above in parents:
      height[above] = max(height[above], height[node] + 1)
  closeness: npt.NDArray[np.float64] = np.exp(-beta * height / max(height.max(), 1))
  return closeness


def _exceeding(hierarchy: Hierarchy, beta: float) -> npt.NDArray[np.float64]:
  """By how much each node's closeness exceeds that of its lowest hypernym."""
  close = _closeness(hierarchy, beta)
  lowest = [
    max((close[above] for above in parents), default=0.0)
    for parents in hierarchy.parents
  ]
  exceeding: npt.NDArray[np.float64] = close - np.array(lowest)
  return exceeding


def _largest(logits: jax.Array, level: Any, levels: int) -> jax.Array:
  """The largest logit of each level, `[b, levels]`, as a constant."""
  of_row: Any = jax.vmap(lambda row: jax.ops.segment_max(row, level, levels))
  largest: jax.Array = of_row(jax.lax.stop_gradient(logits))
  return largest


def _padded(rows: list[npt.NDArray[Any]], value: int | float) -> npt.NDArray[Any]:
  table: npt.NDArray[Any] = np.full((len(rows), max(map(len, rows))), value)
  for at, row in enumerate(rows):
    table[at, : len(row)] = row
  return table

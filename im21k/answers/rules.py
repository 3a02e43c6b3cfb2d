"""Probabilities of all classes -> what to say about a photo.

Hedged, diverse and restricted answers; nodes are those of the hierarchy over the
classes. The flat rule, the likeliest class, needs no function.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from im21k import synsets
from im21k.synsets.hierarchy import Hierarchy

Node = tuple[int, float]  # A node of the hierarchy, and its probability.
Only = Literal["leaves", "objects"]
OBJECT = "n00002684"  # object, physical object


def hedged(
  hierarchy: Hierarchy, nodes: Float[np.ndarray, "b nodes"], lambda_: float
) -> list[Node]:
  """The node of the greatest (information + λ) · probability, for each photo.

  The rule of Deng et al. 2012, "Hedging your bets", section 4 (DARTS). Of equal values
  the one with most information wins.

  Args:
    hierarchy: over the classes.
    nodes: `[b, nodes]`, from `Hierarchy.probabilities`.
    lambda_: λ, 0 or more bits; a greater one gives safer and less specific answers.
      `hedge.lambdas` chooses it for an asked accuracy.
  """
  reward = (hierarchy.information + lambda_).astype(np.float32)
  # Scaled to 1, so that a great λ stays within float32.
  best = (nodes * (reward / reward.max())).argmax(1)
  return [(int(node), float(row[node])) for node, row in zip(best, nodes, strict=True)]


def diverse(
  hierarchy: Hierarchy,
  nodes: Float[np.ndarray, "b nodes"],
  k: int,
  lambda_: float = 0.0,
) -> list[list[Node]]:
  """Up to `k` nodes for each photo that share no class with one another.

  The objective is lexicographic: the first has the greatest (information + λ) ·
  probability of all nodes, each next the greatest among those that share no class with
  the ones before. Maximising the sum instead would name five firs again. Nodes that
  gain no information, or have no mass, are not named.

  Args:
    hierarchy: over the classes.
    nodes: `[b, nodes]`, from `Hierarchy.probabilities`.
    k: most nodes for a photo.
    lambda_: λ as for `hedged`.
  """
  reward = (hierarchy.information + lambda_).astype(np.float32)
  reward[hierarchy.information == 0] = 0
  answers = []
  for row in nodes:
    value = row * reward
    chosen: list[Node] = []
    while len(chosen) < k and value[best := int(value.argmax())] > 0:
      chosen.append((best, float(row[best])))
      value[hierarchy.overlapping(best)] = 0
    answers.append(chosen)
  return answers


def among(
  classes: Float[np.ndarray, "b classes"], allowed: Bool[np.ndarray, " classes"]
) -> tuple[Float[np.ndarray, "b classes"], Float[np.ndarray, " b"]]:
  """Probabilities given that one of the allowed classes is right.

  Args:
    classes: `[b, classes]`, probabilities.
    allowed: bool `[classes]`.

  Returns:
    `[b, classes]`, which sums to 1 over the allowed and is 0 elsewhere; and `[b]`, the
    mass of none of them. A photo without any mass on them has 0 everywhere.
  """
  mass = classes @ allowed.astype(classes.dtype)
  none = classes @ (~allowed).astype(classes.dtype)
  share = np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)
  return classes * np.outer(share, allowed).astype(classes.dtype), none


def allowed_classes(
  hierarchy: Hierarchy | None,
  classes: synsets.ClassList,
  under: Sequence[str] = (),
  listed: synsets.ClassList | None = None,
  only: Only | None = None,
) -> Bool[np.ndarray, " classes"]:
  """Which classes may be answered: those that meet every condition; bool `[classes]`.

  Args:
    hierarchy: over `classes`; None where neither `under` nor `only` is given.
    classes: what the probabilities are of.
    under: synset ids; classes at or below any of them.
    listed: classes of this list.
    only: `leaves`, classes with no class below, or `objects`, physical objects.

  Raises:
    ValueError: a synset is not above any class, `only` is unknown, or no class is left.
  """
  allowed = np.ones(len(classes), bool)
  if only not in (None, "leaves", "objects"):
    raise ValueError(f"only is {only!r}, but must be leaves or objects")
  if only == "leaves" and hierarchy:
    allowed &= hierarchy.count[hierarchy.label_node] == 1
  groups = [tuple(under)] if under else []
  for group in groups + ([(OBJECT,)] if only == "objects" else []):
    kept = np.zeros(len(classes), bool)
    assert hierarchy
    for synset in group:
      if synset not in hierarchy.node:
        raise ValueError(
          f"{synset!r} is not above any class of {classes.name!r}; `im21k synset WORD` "
          "lists the ids of a word"
        )
      kept[hierarchy.below(hierarchy.node[synset])] = True
    allowed &= kept
  if listed is not None:
    kept = np.zeros(len(classes), bool)
    kept[synsets.subset_indices(listed, classes)[0]] = True
    allowed &= kept
  if not allowed.any():
    raise ValueError(f"no class of {classes.name!r} meets all the conditions")
  return allowed

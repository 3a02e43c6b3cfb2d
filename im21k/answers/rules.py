"""What to say about a photo, given the probabilities of all classes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from im21k import synsets
from im21k.synsets.hierarchy import Hierarchy

Node = tuple[int, float]  # A node of the hierarchy, and its probability.
OBJECT = "n00002684"  # object, physical object


def hedged(
  hierarchy: Hierarchy, nodes: npt.NDArray[np.float32], trade: float
) -> list[Node]:
  """The node of the greatest (information + trade) · probability, for each photo.

  The rule of Deng et al. 2012, section 4 (DARTS): `trade` is its λ, which `calibrate`
  finds for an asked accuracy. Of equal values the one with most information wins.

  Args:
    hierarchy: of the classes.
    nodes: `[b, nodes]`, what `Hierarchy.probabilities` gives.
    trade: 0 or more; the greater, the safer and the vaguer.
  """
  reward = (hierarchy.information + trade).astype(np.float32)
  # Scaled to 1, so that a great trade stays within float32.
  best = (nodes * (reward / reward.max())).argmax(1)
  return [(int(node), float(row[node])) for node, row in zip(best, nodes, strict=True)]


def diverse(
  hierarchy: Hierarchy, nodes: npt.NDArray[np.float32], k: int, trade: float = 0.0
) -> list[list[Node]]:
  """Up to `k` nodes for each photo that share no class with one another.

  The objective is lexicographic: the first has the greatest (information + trade) ·
  probability of all nodes, each next the greatest among those that share no class with
  the ones before. Maximising the sum instead would name five firs again. Nodes that
  gain no information, or have no mass, are not named.
  """
  reward = (hierarchy.information + trade).astype(np.float32)
  reward[hierarchy.information == 0] = 0
  found = []
  for row in nodes:
    value = row * reward
    chosen: list[Node] = []
    while len(chosen) < k and value[best := int(value.argmax())] > 0:
      chosen.append((best, float(row[best])))
      value[hierarchy.overlapping(best)] = 0
    found.append(chosen)
  return found


def among(
  classes: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
  """Probabilities given that one of the allowed classes is right.

  Args:
    classes: `[b, classes]`.
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
  hierarchy: Hierarchy,
  classes: synsets.ClassList,
  under: Sequence[str] = (),
  listed: synsets.ClassList | None = None,
  only: str | None = None,
) -> npt.NDArray[np.bool_]:
  """Which classes may be answered: those that meet every condition; bool `[classes]`.

  Args:
    hierarchy: of `classes`.
    classes: what the probabilities are of.
    under: synset ids; classes at or below any of them.
    listed: classes of this list.
    only: `leaves`, classes with none below, or `objects`, physical objects.

  Raises:
    ValueError: a synset is not above any class, `only` is unknown, or no class is left.
  """
  allowed = np.ones(len(classes), bool)
  if only not in (None, "leaves", "objects"):
    raise ValueError(f"only is {only!r}, but must be leaves or objects")
  if only == "leaves":
    allowed &= hierarchy.count[hierarchy.label_node] == 1
  groups = [tuple(under)] if under else []
  for group in groups + ([(OBJECT,)] if only == "objects" else []):
    kept = np.zeros(len(classes), bool)
    for synset in group:
      if synset not in hierarchy.node:
        raise ValueError(
          f"{synset!r} is not above any class of {classes.name!r}; `im21k synset WORD` "
          "finds ids"
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

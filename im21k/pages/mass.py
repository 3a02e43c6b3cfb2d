"""Probabilities over a hierarchy -> a tree of where their mass is.

A node with several hypernyms is below its likeliest only, so that the mass of a node is
that of what is below it in the tree; `probability` is the node's own, over all classes
at or below it.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Float64, Int

from im21k.synsets.hierarchy import Hierarchy

LEAST = 0.01  # Of mass, that is shown for itself.
_WHOLE = 0.97  # From this share of a node's mass on, a child stands for it.


@dataclasses.dataclass(frozen=True)
class Node:
  """A node of the tree.

  Attributes:
    name: of the node.
    probability: of all classes at or below it.
    mass: of these, what is below it in the tree.
    above: names of nodes between it and the one that it is shown under, from above.
    below: its parts, the likeliest first.
    rest: mass that is in none of the parts.
  """

  name: str
  probability: float
  mass: float
  above: tuple[str, ...]
  below: tuple["Node", ...]
  rest: float


def tree(
  hierarchy: Hierarchy, probabilities: Float32[np.ndarray, " classes"]
) -> tuple[tuple[str, ...], list[Node]]:
  """The names down to where the mass divides, and the nodes there, likeliest first."""
  nodes = hierarchy.probabilities(probabilities[None])[0]
  parents = _parents(hierarchy, nodes)
  own = np.zeros(len(nodes))
  np.add.at(own, hierarchy.label_node, probabilities)
  mass = _sums(own, parents)
  below: dict[int, list[int]] = {}
  for node in np.flatnonzero(mass >= LEAST).tolist():
    below.setdefault(int(parents[node]), []).append(node)

  def grow(node: int, above: tuple[str, ...]) -> Node:
    parts = sorted(below.get(node, ()), key=lambda at: (-mass[at], at))
    # A child that has nearly all of it says the same, more exactly.
    if len(parts) == 1 and mass[parts[0]] >= _WHOLE * mass[node]:
      return grow(parts[0], (*above, _name(hierarchy, node)))
    grown = [grow(at, ()) for at in parts]
    if parts and own[node] >= LEAST:
      name = f"{_name(hierarchy, node)} itself"
      grown.append(Node(name, float(own[node]), float(own[node]), (), (), 0.0))
      grown.sort(key=lambda part: -part.mass)
    rest = max(0.0, float(mass[node]) - sum(part.mass for part in grown))
    return Node(
      _name(hierarchy, node), float(nodes[node]), float(mass[node]), above,
      tuple(grown), rest if grown else 0.0,
    )  # fmt: skip

  roots = [grow(at, ()) for at in sorted(below.get(-1, ()), key=lambda at: -mass[at])]
  if len(roots) == 1 and roots[0].below:
    only = roots[0]
    return (*only.above, only.name), list(only.below)
  return (), roots


def _name(hierarchy: Hierarchy, node: int) -> str:
  return hierarchy.name(node).partition(",")[0]


def _parents(
  hierarchy: Hierarchy, nodes: Float32[np.ndarray, " nodes"]
) -> Int[np.ndarray, " nodes"]:
  """The likeliest parent of each node, -1 of roots."""
  first, several = _first_parents(hierarchy)
  parents = first.copy()
  for node, above in several:
    parents[node] = max(above, key=lambda at: nodes[at])
  return parents


@functools.lru_cache(maxsize=4)
def _first_parents(
  hierarchy: Hierarchy,
) -> tuple[npt.NDArray[np.int64], list[tuple[int, Sequence[int]]]]:
  """The first parent of each node, and all parents of those that have several."""
  first = np.array([above[0] if above else -1 for above in hierarchy.parents], np.int64)
  several: list[tuple[int, Sequence[int]]] = [
    (node, above) for node, above in enumerate(hierarchy.parents) if len(above) > 1
  ]
  return first, several


def _sums(
  own: Float64[np.ndarray, " nodes"], parents: Int[np.ndarray, " nodes"]
) -> Float64[np.ndarray, " nodes"]:
  """What is at or below each node of a tree whose nodes follow what is below them."""
  sums: list[float] = own.tolist()
  for node, above in enumerate(parents.tolist()):
    if above >= 0:
      sums[above] += sums[node]
  return np.array(sums)

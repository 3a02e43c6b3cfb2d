"""A graph over classes: probabilities of all that is above them, in a DAG.

The graph is a DAG: a class with two hypernyms is below both, and counts once below what
is above both. Internal nodes may be classes themselves; their own mass counts at them
and above.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int

from im21k.synsets import lookup


class Hierarchy:
  """A DAG over classes: leaves are numbered first, hypernyms after what is below.

  Attributes:
    ids: the id of each node: of a synset, or of an own class.
    parents: the nodes directly above each node.
    label_node: int32 [classes], the node of each class.
    count: int64 [nodes], the number of classes at or below each node.
    information: float64 [nodes], log2(classes / count): the bits that the answer gains
      over knowing nothing (Deng et al. 2012, "Hedging your bets", section 3).
    depth_first: int64 [classes], the labels in depth-first order.
    depth: int32 [nodes], edges of the longest way up from the node to a root.
  """

  def __init__(
    self,
    ids: Sequence[str],
    parents: Sequence[Sequence[int]],
    label_node: Sequence[int],
    names: Mapping[str, str] | None = None,
  ) -> None:
    """Makes the arrays.

    Args:
      ids, parents, label_node: as the attributes.
      names: by id, the names of nodes that are not WordNet's.

    Raises:
      ValueError: a node has no class below it, or there is a cycle.
    """
    self._names = dict(names or {})
    order = _children_first(parents)
    place = {node: at for at, node in enumerate(order)}
    self.ids = tuple(ids[node] for node in order)
    self.parents = tuple(
      tuple(sorted(place[above] for above in parents[node])) for node in order
    )
    self.label_node = np.array([place[node] for node in label_node], np.int32)
    self.depth = np.zeros(len(order), np.int32)
    for node in reversed(range(len(order))):
      if self.parents[node]:
        self.depth[node] = 1 + max(self.depth[above] for above in self.parents[node])
    self._above = [self._closure(int(node)) for node in self.label_node]
    flat = np.concatenate(self._above)
    label = np.repeat(np.arange(len(self._above)), [len(a) for a in self._above])
    by_node = np.argsort(flat, kind="stable")
    self.count = np.bincount(flat, minlength=len(order))
    if not self.count.all():
      raise ValueError(f"{self.ids[int(self.count.argmin())]} has no class below it")
    self._starts = np.concatenate([[0], np.cumsum(self.count)])
    self._below = label[by_node]
    self.information = np.log2(len(self._above) / self.count)
    self._make_runs()

  def probabilities(self, classes: npt.ArrayLike) -> Float32[np.ndarray, "b nodes"]:
    """`[b, classes]` -> `[b, nodes]`: the mass of all classes at or below each node.

    A running sum over the classes in depth-first order makes every run of neighbours
    one difference; a node of a tree is one run, one of a DAG a few.
    """
    p = np.asarray(classes)
    result = np.empty((len(p), len(self.ids)), np.float32)
    leaves = len(self._leaf_label)
    total = np.zeros(p.shape[1] + 1)
    for row, out in zip(p, result, strict=True):
      out[:leaves] = row[self._leaf_label]
      np.cumsum(row[self.depth_first], out=total[1:])
      runs = total[self._run_end] - total[self._run_start]
      if len(self._run_first):
        out[leaves:] = np.clip(np.add.reduceat(runs, self._run_first), 0, 1)
    return result

  def below(self, node: int) -> Int[np.ndarray, " below"]:
    """The labels of the classes at or below a node, ascending."""
    return self._below[self._starts[node] : self._starts[node + 1]]

  def above(self, label: int) -> Int[np.ndarray, " above"]:
    """The nodes at or above a class."""
    return self._above[label]

  def is_right(self, node: int, label: int) -> bool:
    """Whether a node is a true answer for a photo of this class."""
    return node in self._ancestors[label]

  @functools.lru_cache(maxsize=4096)  # noqa: B019  (one hierarchy lives as long as all)
  def overlapping(self, node: int) -> Int[np.ndarray, " nodes"]:
    """The nodes that share a class with `node`: above, below, or beside it."""
    return np.unique(np.concatenate([self._above[label] for label in self.below(node)]))

  def lowest_common(self, a: int, b: int) -> int:
    """The node at or above both classes with the fewest classes below.

    Of several, as in a chain of single children, it is the deepest; of equally deep
    ones that of the lowest id.

    Raises:
      ValueError: no node is above both.
    """
    both = self._ancestors[a] & self._ancestors[b]
    if not both:
      raise ValueError(f"no node is above both classes {a} and {b}")
    return min(
      both, key=lambda node: (self.count[node], -self.depth[node], self.ids[node])
    )

  def name(self, node: int) -> str:
    """A name that no two nodes of WordNet share; of an own class the list's name."""
    one = self.ids[node]
    return self._names.get(one) or lookup.distinct_name(one)

  @functools.cached_property
  def node(self) -> dict[str, int]:
    """The node of each synset id."""
    return {synset: node for node, synset in enumerate(self.ids)}

  @functools.cached_property
  def _ancestors(self) -> list[frozenset[int]]:
    return [frozenset(above.tolist()) for above in self._above]

  def _closure(self, node: int) -> npt.NDArray[np.int32]:
    seen, waiting = {node}, [node]
    while waiting:
      new = [above for above in self.parents[waiting.pop()] if above not in seen]
      seen.update(new)
      waiting += new
    return np.array(sorted(seen), np.int32)

  def _make_runs(self) -> None:
    """Classes in depth-first order, and the runs of it below each node."""
    children: list[list[int]] = [[] for _ in self.ids]  # Of a spanning forest.
    for child, parents in enumerate(self.parents):
      if parents:
        children[parents[0]].append(child)
    order: dict[int, int] = {}
    waiting = [node for node, parents in enumerate(self.parents) if not parents]
    while waiting:
      node = waiting.pop()
      order[node] = len(order)
      waiting += children[node]
    rank = np.array([order[int(node)] for node in self.label_node])
    self.depth_first = np.argsort(rank)
    position = np.empty_like(self.depth_first)
    position[self.depth_first] = np.arange(len(self.depth_first))
    inner = {above for parents in self.parents for above in parents}
    leaves = len(self.ids) - len(inner)  # They are the first nodes.
    self._leaf_label = self._below[self._starts[:leaves]]
    first: list[int] = []
    start: list[int] = []
    end: list[int] = []
    for node in range(leaves, len(self.ids)):
      places = np.sort(position[self.below(node)])
      breaks = np.flatnonzero(np.diff(places) > 1)
      first.append(len(start))
      start += [places[0], *places[breaks + 1]]
      end += [*(places[breaks] + 1), places[-1] + 1]
    self._run_first = np.array(first, np.int64)
    self._run_start, self._run_end = np.array(start, int), np.array(end, int)


def _children_first(parents: Sequence[Sequence[int]]) -> list[int]:
  missing = np.zeros(len(parents), int)
  for above in parents:
    for parent in above:
      missing[parent] += 1
  order = [node for node in range(len(parents)) if not missing[node]]  # The leaves.
  for node in order:
    for parent in parents[node]:
      missing[parent] -= 1
      if not missing[parent]:
        order.append(parent)
  if len(order) < len(parents):
    raise ValueError("the graph has a cycle")
  return order

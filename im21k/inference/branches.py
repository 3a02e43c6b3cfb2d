"""A few branches of the hierarchy that photos are spread over, and their confusion."""

import numpy as np
import numpy.typing as npt

from im21k.inference.hierarchy import Hierarchy


def choose(
  hierarchy: Hierarchy, labels: npt.NDArray[np.int64], most: int = 8
) -> list[int]:
  """Up to `most` nodes that all photos lie below, the fullest first.

  From the roots on, the branch with most photos that can be divided is, into what is
  directly below it and has photos. A class that has photos of its own stays whole.
  """
  photos = _photos(hierarchy, labels)
  own = set(hierarchy.label_node[np.unique(labels)].tolist())
  below: dict[int, list[int]] = {}
  for node, parents in enumerate(hierarchy.parents):
    for above in parents if photos[node] else ():
      below.setdefault(above, []).append(node)
  chosen = [v for v, above in enumerate(hierarchy.parents) if not above and photos[v]]
  while True:
    for node in sorted(chosen, key=lambda v: -photos[v]):
      into = [v for v in below.get(node, ()) if v not in chosen]
      if node not in own and len(chosen) - 1 + len(into) <= most:
        chosen = [v for v in chosen if v != node] + into
        break
    else:
      return sorted(chosen, key=lambda v: (-photos[v], hierarchy.ids[v]))


def confusion(
  hierarchy: Hierarchy,
  nodes: list[int],
  labels: npt.NDArray[np.int64],
  answers: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
  """`[branches, branches + 1]`: photos by branch of the class and of the answer.

  The last column counts answers of no branch. What lies below several branches counts
  for the first; an answer below the photo's own branch counts for that.
  """
  under = np.zeros((len(nodes), len(hierarchy.label_node)), bool)
  for row, node in zip(under, nodes, strict=True):
    row[hierarchy.below(node)] = True
  table = np.zeros((len(nodes), len(nodes) + 1), int)
  for label, answer in zip(labels.tolist(), answers.tolist(), strict=True):
    true = int(under[:, label].argmax())
    if under[true, answer]:
      found = true
    else:
      found = int(under[:, answer].argmax()) if under[:, answer].any() else len(nodes)
    table[true, found] += 1
  return table


def _photos(
  hierarchy: Hierarchy, labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
  """How many photos lie at or below each node."""
  found = np.zeros(len(hierarchy.ids), int)
  for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
    found[hierarchy.above(int(label))] += count
  return found

"""Probabilities of classes -> named answers of each kind."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from im21k import synsets
from im21k.answers import rules
from im21k.synsets import hierarchy

Named = list[dict[str, Any]]  # `synset`, `name` and `probability` of each.


@dataclasses.dataclass(frozen=True)
class Namer:
  """Names what photos show; each kind of answer is a method `[b, classes]` -> named.

  Attributes:
    classes: what the probabilities are of.
    k: how many to name.
    allowed: bool `[classes]`, those that may be named; None: all.
  """

  classes: synsets.ClassList
  k: int
  allowed: Bool[np.ndarray, " classes"] | None = None

  @functools.cached_property
  def graph(self) -> hierarchy.Hierarchy:
    """The hierarchy over the classes, as `hierarchy.over`; flat answers need none."""
    return hierarchy.over(self.classes)

  def flat(self, probabilities: Float[np.ndarray, "b classes"]) -> list[Named]:
    """The most likely classes, each by all its synonyms."""
    return [self._most_likely(row) for row in probabilities]

  def diverse(self, probabilities: Float[np.ndarray, "b classes"]) -> list[Named]:
    """Different things that do not contain one another: see `rules.diverse`."""
    nodes = self.graph.probabilities(probabilities)
    return [self._named(top) for top in rules.diverse(self.graph, nodes, self.k)]

  def hedged(
    self, probabilities: Float[np.ndarray, "b classes"], lambda_: float
  ) -> list[Named]:
    """One node for each photo, the best for `lambda_`: see `rules.hedged`."""
    nodes = self.graph.probabilities(probabilities)
    return [self._named([top]) for top in rules.hedged(self.graph, nodes, lambda_)]

  def _most_likely(self, row: Float[np.ndarray, " classes"]) -> Named:
    best = np.argsort(-row, kind="stable")
    if self.allowed is not None:
      best = best[self.allowed[best]]
    names, ids = self.classes.names, self.classes.synsets
    return [
      {"synset": ids[index], "name": names[index], "probability": float(row[index])}
      for index in best[: self.k]
    ]

  def _named(self, nodes: list[rules.Node]) -> Named:
    ids = self.graph.ids
    return [
      {"synset": ids[v], "name": self.graph.name(v), "probability": p} for v, p in nodes
    ]

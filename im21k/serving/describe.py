"""Probabilities of a photo and what a user chose -> the JSON that describes it."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from im21k import synsets
from im21k.answers import calibration as calibrations
from im21k.answers import hedge, naming, rules
from im21k.pages import mass
from im21k.synsets import foreign, hierarchy

TOP_K, MOST = 5, 50
_MOST_UNDER = 20
_LEAST = 0.01  # Of the probability of an answer that no λ gives.
PARAMETERS = {
  "top_k": f"Number of flat and of diverse answers, 1 to {MOST}; {TOP_K} by default.",
  "classes": "Answer only with classes of this list; one of `class_lists`.",
  "under": "Answer only with classes at or below these ids, separated by commas.",
  "only": "Answer only with leaves (classes without subclasses) or physical objects.",
}


@dataclasses.dataclass(frozen=True)
class Choice:
  """What a user chose: the parameters of a request; ValueError says what is wrong."""

  top_k: int = TOP_K
  classes: str = ""
  under: tuple[str, ...] = ()
  only: str = ""

  @classmethod
  def of(cls, given: Mapping[str, str]) -> "Choice":
    """The choice in a query's parameters."""
    for name in given:
      if name not in PARAMETERS:
        close = difflib.get_close_matches(name, PARAMETERS, n=1)
        known = f"known: {', '.join(PARAMETERS)}"
        hint = f"did you mean {close[0]}?" if close else known
        raise ValueError(f"unknown parameter {name[:40]!r}; {hint}")
    text = given.get("top_k", str(TOP_K))
    top_k = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 1 <= top_k <= MOST:
      raise ValueError(f"top_k is {text[:40]!r}, but must be 1 to {MOST}")
    under = tuple(filter(None, given.get("under", "").split(",")))
    if len(under) > _MOST_UNDER:
      raise ValueError(f"under has {len(under)} ids, but at most {_MOST_UNDER}")
    only = given.get("only", "")
    if only not in ("", "leaves", "objects"):
      raise ValueError(f"only is {only[:40]!r}, but must be leaves or objects")
    return cls(top_k, given.get("classes", ""), tuple(sorted(under)), only)


class Describer:
  """Describes photos by the classes of one model."""

  def __init__(
    self, classes: synsets.ClassList, calibration: calibrations.Calibration | None
  ):
    """Loads the hierarchy, where the classes have one.

    Args:
      classes: what probabilities are of.
      calibration: of the weights; None: they are not calibrated.
    """
    self.classes, self.calibration = classes, calibration
    self.graph = hierarchy.over(classes) if hierarchy.has(classes) else None
    self.lists = _lists(classes)
    self._allowed = functools.lru_cache(64)(self._allowed_by)

  def check(self, choice: Choice) -> None:
    """ValueError if the choice does not suit the classes, or leaves none."""
    self._allowed(choice)

  def photo(
    self, probabilities: Float32[np.ndarray, " classes"], choice: Choice
  ) -> dict[str, Any]:
    """`flat`, `diverse`, `hedged` and `tree` of a photo, and `none` of other classes.

    `hedged` goes from the most specific to the safest: nodes than which none is both
    more informative and more likely. Those with `least_lambda` are the answers of
    `rules.hedged` from that λ on. Without a hierarchy there are flat answers only.

    Raises:
      ValueError: the choice does not suit the classes, or leaves none.
    """
    p, allowed = probabilities[None], self._allowed(choice)
    none = None
    if allowed is not None:
      p, rest = rules.among(p, allowed)
      none = float(rest[0])
    namer = naming.Namer(self.classes, choice.top_k, allowed)
    answers: dict[str, Any] = {"flat": namer.flat(p)[0]}
    answers |= {"diverse": None, "hedged": None, "tree": None, "none": none}
    if self.graph is not None:
      nodes = self.graph.probabilities(p)[0]
      answers["diverse"] = namer.diverse(p)[0]
      answers["hedged"] = self._hedged(nodes)
      answers["tree"] = _tree(*mass.tree(self.graph, p[0]))
    return answers

  def _hedged(self, nodes: Float32[np.ndarray, " nodes"]) -> list[dict[str, Any]]:
    assert self.graph is not None
    least = {node: at for at, node in hedge.path(self.graph, nodes)}
    is_answer = np.zeros(len(nodes), bool)
    is_answer[list(least)] = True
    order = np.lexsort((~is_answer, -nodes, -self.graph.information))
    best, rows = 0.0, []
    for node in order[nodes[order] >= np.maximum.accumulate(nodes[order])].tolist():
      if nodes[node] > best and (node in least or nodes[node] >= _LEAST):
        best = float(nodes[node])
        rows.append({**self._node(node, best), "least_lambda": least.get(node)})
    return rows

  def found(self, text: str, most: int) -> list[dict[str, Any]]:
    """The classes, and what is above them, whose name or id has a text; best first."""
    wanted = " ".join(text.casefold().split())
    rows = []
    for name, at in self._names:
      place = name.find(wanted)
      if place >= 0:
        words = [one.strip() for one in name.split(",")]
        rank = 0 if wanted in words else 1 if place == 0 else 2
        rank = 3 if rank == 2 and name[place - 1].isalnum() else rank
        rows.append((rank, -self._count(at), len(name), at))
    return [self._known(at) for *_, at in sorted(rows)[:most]]

  @functools.cached_property
  def _names(self) -> list[tuple[str, int]]:
    """Name and id of each node, or of each class where there is no hierarchy."""
    if self.graph is None:
      pairs = zip(self.classes.names, self.classes.synsets, strict=True)
      named = [f"{name}, {one}" for name, one in pairs]
    else:
      ids = self.graph.ids
      named = [f"{self.graph.name(at)}, {ids[at]}" for at in range(len(ids))]
    return [(name.casefold(), at) for at, name in enumerate(named)]

  def _count(self, at: int) -> int:
    return 1 if self.graph is None else int(self.graph.count[at])

  def _known(self, at: int) -> dict[str, Any]:
    if self.graph is None:
      one, name = self.classes.synsets[at], self.classes.names[at]
    else:
      one, name = self.graph.ids[at], self.graph.name(at)
    return {"synset": one, "name": name, "classes": self._count(at)}

  def _node(self, node: int, probability: float) -> dict[str, Any]:
    assert self.graph is not None
    return {
      "synset": self.graph.ids[node],
      "name": self.graph.name(node),
      "probability": probability,
      "bits": float(self.graph.information[node]),
    }

  def _allowed_by(self, choice: Choice) -> Bool[np.ndarray, " classes"] | None:
    if not (choice.classes or choice.under or choice.only):
      return None
    if choice.classes and choice.classes not in self.lists:
      known = ", ".join(self.lists) or "this model's are in none"
      raise ValueError(
        f"classes is {choice.classes[:40]!r}, but must be one of: {known}"
      )
    if (choice.under or choice.only) and self.graph is None:
      raise ValueError("under and only need a hierarchy, and these classes have none")
    listed = synsets.get(choice.classes) if choice.classes else None
    only: Any = choice.only or None
    return rules.allowed_classes(self.graph, self.classes, choice.under, listed, only)


def _tree(names: Sequence[str], nodes: Sequence[mass.Node]) -> list[dict[str, Any]]:
  """The tree of mass; what is above the place where it divides is one node."""
  branches = [_branch(one, True) for one in nodes]
  if not names:
    return branches
  return [{"text": " › ".join(names), "is_open": True, "below": branches}]


def _branch(node: mass.Node, is_open: bool) -> dict[str, Any]:
  below = [_branch(one, is_open and one.mass >= 0.5) for one in node.below]
  text = f"{node.name} {node.probability:.1%}"
  return {"text": text, "is_open": is_open, "below": below}


def _lists(classes: synsets.ClassList) -> dict[str, int]:
  """Published lists that have some but not all of the classes, and how many."""
  found = {}
  for name in ("imagenet21k", "ilsvrc2012", *foreign.BY_NAME):
    try:
      listed = synsets.get(name)
    except (OSError, ValueError):  # The package that holds it is missing.
      continue
    count = len(synsets.subset_indices(listed, classes)[0])
    if 0 < count < len(classes):
      found[name] = count
  return found

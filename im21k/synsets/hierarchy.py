"""A class list -> the hierarchy over it: its classes, and WordNet above them."""

import functools
from collections import Counter

from im21k.synsets import ids, wordnet
from im21k.synsets.classes import ClassList
from im21k.synsets.dag import Hierarchy

__all__ = ["Hierarchy", "has", "over", "to_show"]

_ALL = ""  # The id of the root where there is no hierarchy.


def over(classes: ClassList) -> Hierarchy:
  """The hierarchy of a class list: its classes and all that is above them.

  Own classes are below the synset that they hang under; those that hang under none,
  where others do, are below the root.

  Raises:
    ValueError: the WordNet graph lacks a synset, or no own class hangs under one; says
      what to do.
  """
  return _over(classes)


def has(classes: ClassList) -> bool:
  """Whether there is a hierarchy over the classes, so that `over` gives it."""
  try:
    return bool(over(classes).ids)
  except ValueError:
    return False


def to_show(classes: ClassList) -> Hierarchy:
  """The hierarchy for a page: where there is none, all classes below one root."""
  return over(classes) if has(classes) else _flat(classes)


@functools.lru_cache(maxsize=4)
def _over(classes: ClassList) -> Hierarchy:
  graph = wordnet.load()
  above_own = _above_own(classes, graph)
  index: dict[str, int] = {}
  hypernyms: list[tuple[str, ...]] = []
  waiting = list(classes.synsets)
  while waiting:
    synset = waiting.pop()
    if synset not in index:
      above = above_own.get(synset) or graph.hypernyms(synset)
      index[synset] = len(index)
      hypernyms.append(above)
      waiting += above
  parents = [[index[synset] for synset in above] for above in hypernyms]
  label_node = [index[synset] for synset in classes.synsets]
  return Hierarchy(list(index), parents, label_node, _names(classes))


@functools.lru_cache(maxsize=4)
def _flat(classes: ClassList) -> Hierarchy:
  labels = range(len(classes))
  root = len(classes)
  parents = [*([root] for _ in labels), []]
  names = {
    **dict(zip(classes.synsets, classes.names, strict=True)),
    _ALL: "all classes",
  }
  return Hierarchy([*classes.synsets, _ALL], parents, labels, names | _names(classes))


def _names(classes: ClassList) -> dict[str, str]:
  """By id, the names that the list states, and the ids of own classes without one."""
  given = classes.given_names or ("",) * len(classes)
  count = Counter(given)
  names = {one: one for one in classes.own}
  for one, name in zip(classes.synsets, given, strict=True):
    if name:
      names[one] = name if count[name] == 1 else f"{name} ({one})"
  return names


def _above_own(
  classes: ClassList, graph: wordnet.WordNet
) -> dict[str, tuple[str, ...]]:
  """What is above each class that the graph lacks; ValueError if nothing says it."""
  under = classes.under or ("",) * len(classes)
  above: dict[str, tuple[str, ...]] = {}
  for one, synset in zip(classes.synsets, under, strict=True):
    if graph.knows(one):
      continue
    if synset or (classes.under and not ids.is_synset(one)):
      above[one] = (synset or graph.root,)
      continue
    reason = f"{one!r} hangs under no synset"
    if ids.is_synset(one):
      reason = f"{one!r} is not in the WordNet 3.0 graph over the 21,841 classes"
    raise ValueError(
      f"class list {classes.name!r} has no hierarchy: {reason}. Say what it "
      "hangs under in a CSV with header id,name,under as the class list, or in "
      "classes.txt of the weights (`im21k synset WORD` lists ids); flat answers need "
      "none"
    )
  return above

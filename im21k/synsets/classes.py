"""What a label means: a class list is an ordered list of ids.

In: ids of synsets and of classes of the user's own. Out: `ClassList`, whose position is
the label and whose hash is stored with shards, checkpoints and weights, so that labels
of one list are never read with another.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from im21k.synsets import ids, wordnet

_LONGEST_NAME = 200  # characters


class ClassListMismatch(ValueError):
  """Labels of one class list were about to be read with another."""


@dataclasses.dataclass(frozen=True)
class ClassList:
  """Classes in the order of their labels: synsets, own classes, or both.

  Attributes:
    name: readable name of the list; two names may denote the same list.
    synsets: the id of each label: of a synset, or of an own class, such as the name of
      its folder.
    given_names: the name of each label that the list itself states; "" where it states
      none, () where it states none at all.
    under: the synset that each own class hangs under; "" and () as for `given_names`.

  Raises:
    ValueError: no classes, the same one twice, a malformed id or name, or one that
      hangs under an unknown synset; says which label.
  """

  name: str
  synsets: tuple[str, ...]
  given_names: tuple[str, ...] = ()
  under: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    self._drop_blanks()
    where = f"class list {self.name!r}"
    _check(self, where, [f"{where}, label {at}" for at in range(len(self.synsets))])

  @classmethod
  def checked(
    cls,
    name: str,
    where: str,
    synsets: Sequence[str],
    places: Sequence[str],
    given_names: Sequence[str] = (),
    under: Sequence[str] = (),
  ) -> "ClassList":
    """A list read from somewhere, whose errors say where the class stands.

    Args:
      name, synsets, given_names, under: the attributes.
      where: what is read, such as a file.
      places: where each class stands in it, such as file and line.
    """
    made = object.__new__(cls)  # Checked once: `__post_init__` would do it again.
    object.__setattr__(made, "name", name)
    object.__setattr__(made, "synsets", tuple(synsets))
    object.__setattr__(made, "given_names", tuple(given_names))
    object.__setattr__(made, "under", tuple(under))
    made._drop_blanks()
    _check(made, where, places)
    return made

  def __len__(self) -> int:
    return len(self.synsets)

  def __repr__(self) -> str:
    return f"ClassList({self.name!r}, {len(self):,} classes, hash {self.hash})"

  @functools.cached_property
  def hash(self) -> str:
    """Which list this is, whatever its name: changes with any synset or their order.

    The first 16 hex digits of the SHA-256 of the ids joined by newlines: 64 bits,
    enough to distinguish lists that nobody forges. Names and what classes hang under
    are no part of it, for labels mean the same with others.
    """
    return _hash("\n".join(self.synsets))

  @functools.cached_property
  def details(self) -> str:
    """Hash of the names and of what classes hang under; "" where none is stated."""
    if not (self.given_names or self.under):
      return ""
    return _hash(json.dumps([self.given_names, self.under]))

  @property
  def fingerprint(self) -> str:
    """`hash`, followed by `details` where there are any."""
    return "-".join(filter(None, (self.hash, self.details)))

  @functools.cached_property
  def own(self) -> tuple[str, ...]:
    """The ids that are of no synset."""
    return tuple(one for one in self.synsets if not ids.is_synset(one))

  @property
  def is_plain(self) -> bool:
    """Whether these are synsets alone, with WordNet's names and hypernyms."""
    return not (self.own or self.details)

  @functools.cached_property
  def names(self) -> tuple[str, ...]:
    """The readable name of each label: the list's, WordNet's, or else the id."""
    given = self.given_names or ("",) * len(self)
    if len(self.own) == len(self):  # The graph takes a tenth of a second to read.
      pairs = zip(given, self.synsets, strict=True)
      return tuple(name or one for name, one in pairs)
    graph = wordnet.load()
    pairs = zip(given, self.synsets, strict=True)
    return tuple(name or _name(graph, synset) for name, synset in pairs)

  def index(self, synset: str) -> int:
    """The label of a synset; KeyError where it is not in the list."""
    if synset not in self._labels:
      raise KeyError(f"{synset!r} is not among the {len(self):,} of {self.name!r}")
    return self._labels[synset]

  def check_same(self, other_name: str, other_hash: str, where: str) -> None:
    """Raises ClassListMismatch unless `where` was made with this very list.

    Args:
      other_name: the name of the list that `where` states, for the message only.
      other_hash: the `hash` of the list that `where` states.
      where: what states it, such as a checkpoint's path.
    """
    if other_hash != self.hash:
      raise ClassListMismatch(
        f"{where} was made with class list {other_name!r} (hash {other_hash}), but "
        f"{self.name!r} (hash {self.hash}, {len(self):,} classes) is in use. The same "
        "label means different synsets in the two, so names and scores would be wrong "
        f"without any error. Use the list that {where} was made with, or make it "
        f"again with {self.name!r}."
      )

  def _drop_blanks(self) -> None:
    """Lists that state nothing are equal, however many blanks they were given."""
    for field in ("given_names", "under"):
      values = tuple(getattr(self, field))
      object.__setattr__(self, field, values if any(values) else ())

  @functools.cached_property
  def _labels(self) -> dict[str, int]:
    return {synset: label for label, synset in enumerate(self.synsets)}


def subset_indices(
  sub: ClassList, full: ClassList
) -> tuple[Int32[np.ndarray, " present"], tuple[str, ...]]:
  """Where the classes of `sub` are in `full`, and which are not.

  A model of 21,841 classes is scored over the 1,000 with `logits[:, indices]`: 999
  columns, for teddy bear is not among the 21,841.

  Returns:
    int32 [present], the labels in `full` of those synsets of `sub` that it has, in
    the order of `sub`; and the synsets that it lacks, in the order of `sub`.
  """
  labels = full._labels
  present = [labels[synset] for synset in sub.synsets if synset in labels]
  missing = tuple(synset for synset in sub.synsets if synset not in labels)
  return np.array(present, np.int32), missing


def _check(classes: ClassList, where: str, places: Sequence[str]) -> None:
  """ValueError unless there are classes, each well formed and all different."""
  if not classes.synsets:
    raise ValueError(f"{where}: holds no classes")
  before: dict[str, str] = {}
  for place, one in zip(places, classes.synsets, strict=True):
    if fault := ids.fault(one):
      raise ValueError(f"{place}: {one[:80]!r} {fault}")
    if one in before:
      raise ValueError(f"{place}: {one} occurs already at {before[one]}")
    before[one] = place
  for field, check in (("given_names", _check_name), ("under", _check_under)):
    values = getattr(classes, field)
    if values and len(values) != len(classes):
      raise ValueError(f"{where}: {len(values)} {field} of {len(classes)} classes")
    for place, one, value in zip(places, classes.synsets, values, strict=False):
      if value and (fault := check(one, value)):
        raise ValueError(f"{place}: {fault}")


def _check_name(one: str, name: str) -> str | None:
  if ids.invisible(name):
    return f"the name of {one} has control characters or others that nobody sees"
  if len(name) > _LONGEST_NAME:
    return f"the name of {one} has {len(name):,} characters, more than {_LONGEST_NAME}"
  return None


def _check_under(one: str, above: str) -> str | None:
  graph = wordnet.load()
  if graph.knows(one):
    return f"{one} has its place in WordNet: leave under empty"
  if graph.knows(above):
    return None
  if ids.is_synset(above):
    return (
      f"under is {above}, which WordNet 3.0 lacks above or among the 21,841 classes"
    )
  return (
    f"under is {above[:80]!r}, not a synset id such as n02084071; `im21k synset WORD` "
    "lists the ids of a word"
  )


def _hash(text: str) -> str:
  return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def name(one: str) -> str:
  """WordNet's name of a synset; the id itself where it has none, whatever it is."""
  return _name(wordnet.load(), one) if ids.is_synset(one) else one


def _name(graph: wordnet.WordNet, synset: str) -> str:
  try:
    return graph.name(synset)
  except KeyError:
    return synset

"""What a label means: a class list is an ordered list of synset ids.

In: a text file of synset ids. Out: `ClassList`, whose position is the label and whose
hash is stored with shards, checkpoints and weights, so that labels of one list are
never read with another.
"""

import codecs
import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from im21k.synsets import wordnet
from im21k.synsets.ids import is_synset

_LARGEST = 16 << 20  # bytes of a list; that of 21,841 names has 1 MB


class ClassListMismatch(ValueError):
  """Labels of one class list were about to be read with another."""


@dataclasses.dataclass(frozen=True)
class ClassList:
  """Synset ids in the order of their labels.

  Attributes:
    name: readable name of the list; two names may denote the same list.
    synsets: the synset id of each label.

  Raises:
    ValueError: no synsets, the same one twice, or a malformed id; says which label.
  """

  name: str
  synsets: tuple[str, ...]

  def __post_init__(self) -> None:
    where = f"class list {self.name!r}"
    labelled = enumerate(self.synsets)
    _checked(where, ((f"{where}, label {at}", synset) for at, synset in labelled))

  def __len__(self) -> int:
    return len(self.synsets)

  def __repr__(self) -> str:
    return f"ClassList({self.name!r}, {len(self):,} classes, hash {self.hash})"

  @functools.cached_property
  def hash(self) -> str:
    """Which list this is, whatever its name: changes with any synset or their order.

    The first 16 hex digits of the SHA-256 of the ids joined by newlines: 64 bits,
    enough to distinguish lists that nobody forges.
    """
    return hashlib.sha256("\n".join(self.synsets).encode("ascii")).hexdigest()[:16]

  @functools.cached_property
  def names(self) -> tuple[str, ...]:
    """The readable name of each label; the id itself where the graph lacks it."""
    graph = wordnet.load()
    return tuple(_name(graph, synset) for synset in self.synsets)

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

  @functools.cached_property
  def _labels(self) -> dict[str, int]:
    return {synset: label for label, synset in enumerate(self.synsets)}


def from_file(path: str | os.PathLike[str]) -> ClassList:
  """The class list in a text file; its name is the file's stem.

  One synset id per line in the order of the labels. What follows the id is ignored, so
  `n01440764 tench` is fine; so are blank lines and lines that begin with `#`.

  Raises:
    ValueError: not UTF-8, malformed or repeated ids, or none; says file and line.
  """
  path = Path(path)
  entries = []
  for number, line in enumerate(lines(path), 1):
    tokens = line.split()
    if tokens and not tokens[0].startswith("#"):
      entries.append((f"{path}, line {number}", tokens[0]))
  return ClassList(path.stem, _checked(str(path), entries))


def lines(path: Path) -> list[str]:
  """The lines of a small text in UTF-8, with a byte-order mark or without.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no regular file, too large or not UTF-8; says file and line.
  """
  if path.exists() and not path.is_file():  # A FIFO would be waited for.
    raise ValueError(f"{path} is not a regular file")
  with path.open("rb") as file:
    data = file.read(_LARGEST + 1)
  if len(data) > _LARGEST:
    raise ValueError(f"{path} has more than {_LARGEST:,} bytes, so it is no such list")
  decoded = []
  for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
    try:
      decoded.append(line.decode("utf-8"))
    except UnicodeDecodeError as error:
      raise ValueError(
        f"{path}, line {number}: not UTF-8 text ({error.reason})"
      ) from error
  return decoded


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


def _checked(where: str, entries: Iterable[tuple[str, str]]) -> tuple[str, ...]:
  """The synsets of (place, synset) pairs: at least one, well formed, all different."""
  places: dict[str, str] = {}
  for place, synset in entries:
    if not is_synset(synset):
      raise ValueError(
        f"{place}: {synset[:80]!r} is not a synset id; those are n and 8 digits, "
        "such as n01440764"
      )
    if synset in places:
      raise ValueError(f"{place}: {synset} occurs already at {places[synset]}")
    places[synset] = place
  if not places:
    raise ValueError(f"{where}: holds no synset ids")
  return tuple(places)


def _name(graph: wordnet.WordNet, synset: str) -> str:
  try:
    return graph.name(synset)
  except KeyError:
    return synset

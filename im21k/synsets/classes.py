"""What a label means: a class list is an ordered list of synset ids.

In: a name, or a text file of synset ids. Out: `ClassList`, whose position is the label
and whose hash travels with shards, checkpoints and weights, so that labels of one list
are never read with another.
"""

import codecs
import dataclasses
import difflib
import functools
import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from im21k.synsets import wordnet
from im21k.synsets.ids import is_synset


class ClassListMismatch(ValueError):
  """Labels of one class list were about to be read with another."""


@dataclasses.dataclass(frozen=True)
class ClassList:
  """Synset ids in the order of their labels.

  Attributes:
    name: how people call the list; two names may stand for the same list.
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
    enough to tell lists apart that nobody forges.
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


@functools.cache
def imagenet21k() -> ClassList:
  """The 21,841 synsets of the fall 2011 release, sorted by id."""
  graph = wordnet.load()
  chosen = np.flatnonzero(graph.is_class)
  return ClassList("imagenet21k", tuple(graph.ids[node] for node in chosen))


def ilsvrc2012() -> ClassList:
  """The 1,000 synsets of ILSVRC2012, sorted by id.

  Read from the installed wheel tensorflow-datasets, which is not imported: importing
  it would bring in TensorFlow.

  Raises:
    FileNotFoundError: that wheel, or its label file, is not there.
  """
  path = _of_ilsvrc2012(
    "labels.txt",
    "the 1,000 classes of ILSVRC2012",
    "give a text file of synset ids instead of 'ilsvrc2012'",
  )
  return ClassList("ilsvrc2012", tuple(sorted(from_file(path).synsets)))


def validation_labels(path: Path | None = None) -> list[str]:
  """The synsets of the photos of ILSVRC2012's validation set, by their numbers.

  Raises:
    FileNotFoundError: no file is given, and tensorflow-datasets is not installed.
    ValueError: a line is no synset id; says which.
  """
  path = path or _of_ilsvrc2012(
    "validation_labels.txt",
    "the labels of ILSVRC2012's validation photos",
    "give --labels, a file of synset ids",
  )
  ids = path.read_text(encoding="utf-8").split("\n")
  while ids and not ids[-1].strip():
    ids.pop()
  for number, synset in enumerate(ids, 1):
    if synset.strip().isdecimal():
      raise ValueError(
        f"{path} line {number} is a number. Numbers are of the development kit's own "
        "order (its meta.mat), not of the sorted synsets: give a file of synset ids, "
        "or none to take the list in tensorflow-datasets"
      )
    if not is_synset(synset.strip()):
      raise ValueError(f"{path} line {number}: {synset[:80]!r} is no synset id")
  return [synset.strip() for synset in ids]


def from_file(path: str | os.PathLike[str]) -> ClassList:
  """The class list in a text file; its name is the file's stem.

  One synset id per line in the order of the labels. What follows the id is ignored, so
  `n01440764 tench` is fine; so are blank lines and lines that begin with `#`.

  Raises:
    ValueError: not UTF-8, malformed or repeated ids, or none; says file and line.
  """
  path = Path(path)
  entries = []
  lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
  for number, line in enumerate(lines, 1):
    where = f"{path}, line {number}"
    try:
      tokens = line.decode("utf-8").split()
    except UnicodeDecodeError as error:
      raise ValueError(f"{where}: not UTF-8 text ({error.reason})") from error
    if tokens and not tokens[0].startswith("#"):
      entries.append((where, tokens[0]))
  return ClassList(path.stem, _checked(str(path), entries))


def get(name_or_path: str | os.PathLike[str]) -> ClassList:
  """The class list of this name (`imagenet21k`, `ilsvrc2012`), or in this file.

  Raises:
    ValueError: neither a known name nor a file; offers the nearest name.
  """
  name = os.fspath(name_or_path)
  if name in _BY_NAME:
    return _BY_NAME[name]()
  if Path(name).is_file():
    return from_file(name)
  nearest = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
  hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
  raise ValueError(
    f"{name!r} is neither a class list ({', '.join(_BY_NAME)}) nor a file.{hint}"
  )


def subset_indices(
  sub: ClassList, full: ClassList
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
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


_BY_NAME: dict[str, Callable[[], ClassList]] = {
  "imagenet21k": imagenet21k,
  "ilsvrc2012": ilsvrc2012,
}


def _checked(where: str, entries: Iterable[tuple[str, str]]) -> tuple[str, ...]:
  """The synsets of (place, synset) pairs, all well formed, different, and some."""
  places: dict[str, str] = {}
  for place, synset in entries:
    if not is_synset(synset):
      raise ValueError(
        f"{place}: {synset!r} is not a synset id; those are n and 8 digits, such as "
        "n01440764"
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


def _of_ilsvrc2012(name: str, what: str, instead: str) -> Path:
  """A file in the installed tensorflow-datasets, which is not imported for it."""
  spec = importlib.util.find_spec("tensorflow_datasets")
  folders = (spec and spec.submodule_search_locations) or ()
  for folder in folders:
    path = Path(folder) / "datasets" / "imagenet2012" / name
    if path.is_file():
      return path
  found = f"in {folders[0]} it is missing" if folders else "that is not installed"
  raise FileNotFoundError(
    f"{what} are read from the package tensorflow-datasets, file "
    f"datasets/imagenet2012/{name}: {found}. Run `pip install tensorflow-datasets`, or "
    f"{instead}."
  )

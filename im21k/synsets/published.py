"""The class lists that everyone uses, by name: a name or a file -> `ClassList`."""

import dataclasses
import difflib
import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from im21k.synsets import foreign, wordnet
from im21k.synsets.class_files import from_file, lines
from im21k.synsets.classes import ClassList
from im21k.synsets.ids import is_synset

CLASSES = "classes.txt"  # In packed photos and released weights.


def get(name_or_path: str | os.PathLike[str]) -> ClassList:
  """The class list of this name (`imagenet21k`, `ilsvrc2012`), or in this file.

  Other names are those of `foreign.BY_NAME`, lists of other people's weights. Packed
  photos and released weights, which are folders, give their own list.

  Raises:
    ValueError: neither a known name nor a file; suggests the nearest name.
  """
  name = os.fspath(name_or_path)
  if name in _BY_NAME:
    return _BY_NAME[name]()
  if Path(name).is_file():
    return from_file(name)
  inside = Path(name) / CLASSES
  if inside.is_file():
    return dataclasses.replace(from_file(inside), name=Path(name).resolve().name)
  nearest = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
  hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
  raise ValueError(
    f"{name!r} is neither a class list ({', '.join(_BY_NAME)}) nor a file.{hint}"
  )


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
    ValueError: a line is not a synset id; says which.
  """
  path = path or _of_ilsvrc2012(
    "validation_labels.txt",
    "the labels of ILSVRC2012's validation photos",
    "give --labels, a file of synset ids",
  )
  ids = lines(path)
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


_BY_NAME: dict[str, Callable[[], ClassList]] = {
  "imagenet21k": imagenet21k,
  "ilsvrc2012": ilsvrc2012,
  **foreign.BY_NAME,
}


def _of_ilsvrc2012(name: str, what: str, instead: str) -> Path:
  """A file in the installed tensorflow-datasets, which is not imported for it."""
  spec = importlib.util.find_spec("tensorflow_datasets")
  folders = (spec and spec.submodule_search_locations) or ()
  for folder in folders:
    path = Path(folder) / "datasets" / "imagenet2012" / name
    if path.is_file():
      return path
  where = f"in {folders[0]} it is missing" if folders else "that is not installed"
  raise FileNotFoundError(
    f"{what} are read from the package tensorflow-datasets, file "
    f"datasets/imagenet2012/{name}: {where}. Run `pip install tensorflow-datasets`, or "
    f"{instead}."
  )

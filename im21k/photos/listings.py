"""Photos that a text file lists: MXNet's .lst, or a TSV of path and synset."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from im21k import synsets
from im21k.interop import lists
from im21k.photos import folders, names
from im21k.photos.photo import Entry, Photo


@dataclasses.dataclass(frozen=True)
class Listed:
  """The files of a list.

  Attributes:
    path: a .lst (`number, labels, path`) or a .tsv (`path, synset`), tabs between.
    root: the folder that the paths start from.
    classes: synset of each label of a .lst.
    size: bytes of the files; 0 where nobody has added them up.
  """

  path: Path
  root: Path
  classes: tuple[str, ...]
  size: int = 0

  @functools.cached_property
  def count(self) -> int:
    """Lines; the list is read once."""
    return sum(1 for _ in self.entries())

  def entries(self) -> Iterator[Entry]:
    """The files in the order of the list.

    Raises:
      ValueError: a line is not as it should be; names file, line and reason.
    """
    for name, synset in self._lines():
      if names.leaves(name):
        raise ValueError(f"{self.path}: path {name!r} is absolute or leaves its folder")
      yield Entry(name, synset, os.path.join(self.root, name))

  def photos(self) -> Iterator[Photo]:
    """The photos, each read when it is asked for."""
    return map(folders.from_entry, self.entries())

  located = photos

  def _lines(self) -> Iterator[tuple[str, str]]:
    if self.path.suffix == ".lst":
      for entry in lists.read(self.path):
        yield entry.path, class_of(entry.labels, self.classes, str(self.path))
      return
    # Spreadsheets begin a file with a byte-order mark.
    with self.path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
      for number, line in enumerate(file, 1):
        name, tab, synset = line.rstrip("\n").rpartition("\t")
        if not tab or not synsets.is_synset(synset):
          raise ValueError(
            f"{self.path} line {number}: should be path, tab and synset, but is "
            f"{line[:80]!r}"
          )
        yield name, synset


def class_of(labels: Sequence[float], classes: Sequence[str], where: str) -> str:
  """The synset of MXNet's labels, of which the first counts; ValueError if none."""
  label = labels[0] if labels else None
  index = int(label) if label is not None and label == label // 1 else -1
  if not 0 <= index < len(classes):
    raise ValueError(
      f"{where}: label {label} is not among the {len(classes):,} classes of the class "
      "list"
    )
  return classes[index]

"""Photos that a text file lists: MXNet's .lst, or a TSV of path and synset."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from im21k import synsets
from im21k.interop import lists
from im21k.photos import folders, names
from im21k.photos.photo import Entry, Photo

# A file none of whose first lines can be used is not a list of photos, or is read with
# the wrong class list: that is one error, not one row for each line.
_FIRST_LINES = 10_000
_LONGEST_PATH = 4096  # characters; Linux allows as many bytes


@dataclasses.dataclass(frozen=True)
class Listed:
  """The files of a list.

  Attributes:
    path: a .lst (`number, labels, path`) or a .tsv (`path, synset`), tabs between.
    root: the folder that the paths start from.
    classes: synset of each label of a .lst; a .tsv may name its own classes too.
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
    """The files in the order of the list; a line that cannot be used has a problem.

    Raises:
      ValueError: no line of the beginning can be used; names file, line and reason.
    """
    entries = map(self._entry, lists.lines(self.path))
    first: list[Entry] = []
    for entry in itertools.islice(entries, _FIRST_LINES):
      first.append(entry)
      if not entry.problem:
        break
    else:
      if first:
        assert first[0].problem
        raise ValueError(
          f"{first[0].problem[1]}; and no other of the first {len(first):,} lines "
          "can be used"
        )
    return itertools.chain(first, entries)

  def photos(self) -> Iterator[Photo]:
    """The photos, each read when it is asked for."""
    return map(folders.from_entry, self.entries())

  located = photos

  @functools.cached_property
  def _has_own(self) -> bool:
    return not all(map(synsets.is_synset, self.classes))

  def _entry(self, line: lists.Line) -> Entry:
    where = f"{self.path} line {line.number}"
    try:
      name, synset = self._parsed(line)
      if len(name) > _LONGEST_PATH:
        raise ValueError(f"a path of {len(name):,} characters, which no file has")
    except ValueError as error:
      key = f"{self.path.name}/{line.number}"
      return Entry(key, "", "", ("unreadable", f"{where}: {error}"))
    if names.leaves(name):
      problem = (
        "refused path",
        f"{where}: the path is absolute, leaves its folder or holds a zero byte",
      )
      return Entry(name, synset, "", problem)
    return Entry(name, synset, os.path.join(self.root, name))

  def _parsed(self, line: lists.Line) -> tuple[str, str]:
    """Path and synset; ValueError says what is wrong with the line."""
    text = line.whole()
    if self.path.suffix.lower() == ".lst":
      entry = lists.parse(text)
      return entry.path, class_of(entry.labels, self.classes)
    name, _, synset = text.rpartition("\t")
    synset = synsets.normalized(synset)
    if not name or not (synsets.is_synset(synset) or (synset and self._has_own)):
      raise ValueError(f"should be path, tab and synset, but is {text[:80]!r}")
    return name, synset


def class_of(labels: Sequence[float], classes: Sequence[str]) -> str:
  """The synset of MXNet's labels; ValueError if they are not one class of the list."""
  if len(labels) != 1:
    raise ValueError(f"{len(labels):,} labels, but each photo is packed with one")
  (label,) = labels
  # Also false for NaN; infinity has no whole number.
  if not 0 <= label < len(classes) or label != int(label):
    raise ValueError(
      f"label {label} is not among the {len(classes):,} classes of the class list"
    )
  return classes[int(label)]

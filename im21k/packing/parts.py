"""Sources as given -> what is read from each, for which split, and under which names.

In: paths and options of `pack`. Out: `Parts`. Of several sources, every key begins with
the name of its source, so that equal paths in two of them are two photos; ILSVRC2012's
own archives keep their keys, which cannot be equal.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.packing import class_choice
from im21k.packing.config import PackOptions
from im21k.packing.places import Given, given, is_path, named
from im21k.photos import downloads, names, sources, tfds, validation
from im21k.photos.folders import ClassFolder
from im21k.photos.photo import Entry, Loss, Photo
from im21k.photos.tars import Tar


@dataclasses.dataclass(frozen=True)
class Part:
  """One source.

  Attributes:
    path, split: see `Given`.
    source: the photos there.
    name: what it is called in keys and counts; no two have the same.
    is_named: whether its keys begin with the name.
  """

  path: Path
  split: str
  source: sources.Source
  name: str
  is_named: bool = False

  @property
  def prefix(self) -> str:
    """What comes before the keys of its photos."""
    return f"{self.name}/" if self.is_named else ""

  def entries(self, entries: Iterator[Entry]) -> Iterator[Entry]:
    """Its entries under their keys here."""
    prefix = self.prefix
    if not prefix:
      return entries
    return (entry._replace(key=prefix + entry.key) for entry in entries)

  def streams(self, streams: Sequence[Any]) -> list[Any]:
    """Its streams, whose photos have their keys here."""
    if not self.is_named:
      return list(streams)
    file = self.path.name if self.path.is_file() else None
    return [Renamed(stream, self.name, file) for stream in streams]


@dataclasses.dataclass(frozen=True)
class Renamed:
  """A stream whose keys begin with a name; `file` is its source's, if it is one."""

  stream: Any
  name: str
  file: str | None

  @property
  def size(self) -> int:
    """Bytes to read."""
    size: int = self.stream.size
    return size

  def photos(self) -> Iterator[Photo]:
    """The photos in the same order."""
    for photo in self.stream.photos():
      key = f"{self.name}/{photo.key}"
      if len(key) > names.LONGEST // 4 and _bytes(key) > names.LONGEST:
        problem = "refused path", f"a name of {_bytes(key):,} bytes"
        yield Photo(f"{key[:200]}…", photo.synset, problem=problem)
        continue
      renamed = photo.named(key, photo.synset)
      if photo.loss:
        archive, size = photo.loss
        is_it = archive == self.file
        renamed.loss = Loss(self.name if is_it else f"{self.name}/{archive}", size)
      yield renamed


@dataclasses.dataclass(frozen=True)
class Parts:
  """All sources of a data set."""

  parts: tuple[Part, ...]

  def __iter__(self) -> Iterator[Part]:
    return iter(self.parts)

  @property
  def are_divided(self) -> bool:
    """Whether they, and no option, say which photos are of which split."""
    return any(part.split for part in self.parts)

  @property
  def is_one(self) -> bool:
    """Whether they are one source, divided by the options."""
    return len(self.parts) == 1 and not self.are_divided

  @property
  def are_ilsvrc2012(self) -> bool:
    """Whether one of them is said to be of ILSVRC2012: its archive, or its labels."""
    return any(
      part.path.name == downloads.TRAIN_ARCHIVE or part.source.files for part in self
    )

  @property
  def text(self) -> str:
    """Their paths, for messages."""
    *others, last = (str(part.path) for part in self.parts)
    return " and ".join(filter(None, (", ".join(others), last)))

  @property
  def resolved(self) -> str:
    """Their paths wherever the command runs, and the split of each."""
    lines = (f"{part.split} {part.path.resolve()}".strip() for part in self.parts)
    return " and ".join(lines)

  @property
  def joined(self) -> sources.Source:
    """All photos as one source, under the keys that they have there."""
    streams = itertools.chain.from_iterable(part.source.streams for part in self.parts)
    files = itertools.chain.from_iterable(part.source.files for part in self.parts)
    # Of several roots none is that of all keys; here it says that photos are files.
    roots = [part.source.root for part in self.parts]
    return sources.Source(
      tuple(streams), None if None in roots else roots[0], tuple(files)
    )

  @property
  def roots(self) -> tuple[tuple[Path, int], ...]:
    """Folder of each part, and how many bytes of a key come before the path in it."""
    found = []
    for part in self.parts:
      assert part.source.root is not None
      found.append((part.source.root, _bytes(part.prefix)))
    return tuple(found)

  def number_of(self, key: str, archive: str = "") -> int:
    """Which part a photo, or what was lost of an archive, is of."""
    for number, part in enumerate(self.parts):
      if part.is_named and (archive or key).startswith((part.prefix, part.name)):
        first, _, _ = (archive or key).partition("/")
        if first == part.name:
          return number
    archives = [part.path.name for part in self.parts]
    if archive in archives:
      return archives.index(archive)
    # Keys of ILSVRC2012's photos to train on begin with their synset, see `_are_apart`.
    split = "train" if synsets.is_synset(key.partition("/")[0]) else "eval"
    splits = [part.split for part in self.parts]
    return splits.index(split) if split in splits else 0


def open_all(
  paths: Sequence[Path], options: PackOptions
) -> tuple[synsets.ClassList, Parts]:
  """The class list, and all sources opened.

  Raises:
    OSError, ValueError: as of `photos.open`, or as of `given`.
  """
  places = given(paths, options)
  to_train = [one.path for one in places if one.split != "eval"]
  classes = class_choice.choose(options.classes, *(to_train or [places[0].path]))
  parts = opened(places, options, classes)
  if options.classes is None and options.unlisted == "error" and parts.are_ilsvrc2012:
    classes = class_choice.with_all(classes, parts.joined.streams)
  return classes, parts


def opened(
  places: Sequence[Given], options: PackOptions, classes: synsets.ClassList
) -> Parts:
  """The sources at these places; errors as of `photos.open`."""
  # Labels are those of the photos to evaluate on, where they can be.
  order = sorted(range(len(places)), key=lambda at: places[at].split != "eval")
  labels, refused = options.labels, None
  found: dict[int, sources.Source] = {}
  for at in order:
    alone = len(places) == 1
    try:
      found[at] = _open(places[at], options, classes, labels, alone)
    except sources.WithoutEffect as error:
      if alone or labels is None:
        raise
      refused = refused or error
      found[at] = _open(places[at], options, classes, None, alone)
    else:
      if labels is not None:
        labels, refused = None, None
  if labels is not None and refused is not None:
    raise refused
  called = named(places)
  parts = [
    Part(one.path, one.split, found[at], called[at]) for at, one in enumerate(places)
  ]
  if len(places) > 1 and not _are_apart(parts):
    parts = [dataclasses.replace(part, is_named=True) for part in parts]
  return Parts(tuple(parts))


def _open(
  place: Given,
  options: PackOptions,
  classes: synsets.ClassList,
  labels: Path | None,
  alone: bool,
) -> sources.Source:
  path, is_eval = place.path, place.split == "eval"
  by_name = not is_path(path)
  split = options.source_split
  if is_eval:
    split = "eval" if not by_name and (path / tfds.INFO).is_file() else None
  is_list = path.suffix.lower() in (".lst", ".tsv")
  source = sources.find(
    path,
    classes.synsets,
    options.root if is_list or alone else None,
    labels,
    split,
    mixed=options.unlisted == "skip",
  )
  is_bare = is_eval and not by_name and not source.files and validation.is_at(path)
  if is_bare and not validation.numbers(path).are_all(validation.ALL):
    raise validation.missing_kit(path)
  return source


def _are_apart(parts: Sequence[Part]) -> bool:
  """Whether the keys of two parts cannot be equal: ILSVRC2012's, of both kinds."""
  if len(parts) != 2 or [part.split for part in parts] != ["train", "eval"]:
    return False
  first, val = parts[0].source.streams[:1], parts[1].path
  is_classed = any(isinstance(s, Tar | ClassFolder) and s.synset for s in first)
  return is_classed and is_path(val) and validation.is_at(val)


def _bytes(text: str) -> int:
  return len(text.encode("utf-8", "surrogateescape"))

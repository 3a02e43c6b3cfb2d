"""Photos that are files: in folders named by classes, or all in one folder."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from im21k import synsets
from im21k.photos import image_files, names, photo_file
from im21k.photos.photo import Entry, Photo


@dataclasses.dataclass(frozen=True)
class ClassFolder:
  """One folder named by a class, with all folders in it.

  Attributes:
    root: the folder that it is in.
    synset: its name; of an own class, its id.
    size: bytes of its files; 0 where nobody has added them up.
    folder: its name on disk; by default the id.
  """

  root: Path
  synset: str
  size: int = 0
  folder: str = ""

  @functools.cached_property
  def count(self) -> int:
    """Files; the folder is listed once."""
    return sum(1 for _ in self.entries())

  def entries(self) -> Iterator[Entry]:
    """Its files in the order of their names; names that begin with a dot left out."""
    root = os.path.join(self.root, "")
    for key in _files(root, self.folder or self.synset):
      yield Entry(key, self.synset, root + key)

  def photos(self) -> Iterator[Photo]:
    """Its photos, each read when it is asked for."""
    return map(from_entry, self.entries())

  located = photos


@dataclasses.dataclass(frozen=True)
class PhotoFolder:
  """One folder of photos, or some files of it; the names may say their classes.

  Attributes:
    root: the folder.
    names: the files.
    labels: see `names.locate`.
    size: bytes of the files; 0 where nobody has added them up.
  """

  root: Path
  names: tuple[str, ...]
  labels: tuple[str, ...] | None = None
  size: int = 0

  @property
  def count(self) -> int:
    """Files."""
    return len(self.names)

  def entries(self) -> Iterator[Entry]:
    """The files in the order of their names."""
    for name in self.names:
      synset, _ = names.locate(name, self.labels)
      yield Entry(name, synset, os.path.join(self.root, name))

  def photos(self) -> Iterator[Photo]:
    """The photos, each read when it is asked for."""
    return map(from_entry, self.entries())

  located = photos


def class_folders(
  root: Path, or_none: bool = False, classes: Sequence[str] = (), mixed: bool = False
) -> list[ClassFolder]:
  """The folders of `root`, each a class: of synsets, or all of own classes.

  Both are side by side only where the class list has own ones, or `mixed` allows it.

  Args:
    root: the folder that they are in.
    or_none: whether there may be none.
    classes: ids of the class list.
    mixed: whether folders of other names may be beside those of synsets.

  Raises:
    NotADirectoryError, ValueError: `root` is not a folder, contains no class folder, or
      contains folders named by synsets and others.
  """
  if not root.is_dir():
    raise NotADirectoryError(
      f"{root} is not a folder: give one with a folder for each class, such as "
      "n01440764/"
    )
  folders = names_of(root)
  strangers = [name for name in folders if not synsets.is_synset(name)]
  mixed = mixed or not all(map(synsets.is_synset, classes))
  if strangers and (or_none or len(strangers) < len(folders)) and not mixed:
    raise ValueError(
      f"{root}: {_some(strangers)} not named by a synset id: every folder should have "
      "a name like n01440764, or a class list name the others (--classes)"
    )
  if strangers and not mixed and not any(has_files(root, name) for name in folders):
    folders = []
  if not folders and not or_none:
    raise ValueError(
      f"{root} contains no photos: neither class folders named by synset ids, such as "
      "n01440764/, or by own classes, nor image files"
    )
  return [ClassFolder(root, synsets.normalized(name), folder=name) for name in folders]


def names_of(root: Path) -> list[str]:
  """The folders of `root`, in order; names that begin with a dot are left out."""
  return sorted(e.name for e in os.scandir(root) if _visible(e) and _is_folder(e))


def has_files(root: Path, folder: str) -> bool:
  """Whether there is any file in a folder of `root`, or in folders of that."""
  return next(_files(os.path.join(root, ""), folder), None) is not None


def photo_names(root: Path) -> tuple[str, ...]:
  """The photos of a folder without class folders, in order; none if it has folders.

  Where there are validation photos of ILSVRC2012, folders beside them are listed too:
  as files that cannot be read.
  """
  entries = [e for e in os.scandir(root) if _visible(e)]
  folders = [e.name for e in entries if _is_folder(e)]
  beside = beside_classes(root)
  if not folders:
    return beside
  is_validation = any(map(names.VALIDATION.fullmatch, beside))
  if not is_validation or any(map(synsets.is_synset, folders)):
    return ()
  return tuple(sorted((*beside, *folders)))


def beside_classes(root: Path) -> tuple[str, ...]:
  """The files of a folder that may be photos or hold photos, in order.

  Names that begin with a dot are left out; tars named by a synset are, too.
  """
  return tuple(
    sorted(
      e.name
      for e in os.scandir(root)
      if _visible(e)
      and not _is_folder(e)
      and not names.CLASS_TAR.fullmatch(e.name)
      and (names.in_name(e.name) or _may_be_photo(e))
    )
  )


def numbered(
  root: Path, photos: tuple[str, ...], labels: tuple[str, ...] | None
) -> PhotoFolder:
  """A folder of photos, after a look at the numbers of validation photos.

  Raises:
    ValueError: `labels` ends before one of them.
  """
  for name in photos:
    if match := names.VALIDATION.fullmatch(name):
      known = len(names.validation_labels() if labels is None else labels)
      if not 1 <= int(match[1]) <= known:
        raise ValueError(f"{root / name}: there are labels for photos 1 to {known:,}")
  return PhotoFolder(root, photos, labels)


def from_entry(entry: Entry) -> Photo:
  """The photo in a file, which is read when its bytes are asked for."""
  if entry.problem:
    return Photo(entry.key, entry.synset, problem=entry.problem)
  return Photo(entry.key, entry.synset, functools.partial(photo_file.read, entry.path))


def size_of(path: str) -> int:
  """Bytes of a file; 0 if there is no such file, which reading will report."""
  try:
    return os.stat(path).st_size
  except OSError:
    return 0


def _files(root: str, folder: str) -> Iterator[str]:
  """Paths below `root` of the files in one of its folders, `root` left out.

  A folder that cannot be listed is one of them: reading it will say so.
  """
  # No recursion: folders may be nested deeper than Python's calls.
  waiting = [(folder, True)]
  while waiting:
    path, is_folder = waiting.pop()
    if not is_folder:
      yield path
      continue
    try:
      entries = sorted((e.name, e) for e in os.scandir(root + path) if _visible(e))
    except OSError:
      yield path
      continue
    waiting += [
      (f"{path}/{name}", entry.is_dir(follow_symlinks=False))
      for name, entry in reversed(entries)
    ]


def _visible(entry: "os.DirEntry[str]") -> bool:
  return not entry.name.startswith(".")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
  try:
    return entry.is_dir()
  except OSError:  # a link to itself
    return False


def _may_be_photo(entry: "os.DirEntry[str]") -> bool:
  """Whether to list a file: all that are no regular files are, to say so."""
  try:
    if image_files.may_be_photo(entry.name) or not entry.is_file():
      return True
    with open(entry.path, "rb", buffering=0) as file:
      head = file.read(image_files.SIGNATURE)
  except OSError:
    return True
  return image_files.may_be_photo(entry.name, head)


def _some(strangers: list[str]) -> str:
  shown = ", ".join(repr(name) for name in strangers[:3])
  verb = "is a folder" if len(strangers) == 1 else "are folders"
  return f"{shown}{' …' if len(strangers) > 3 else ''} {verb}"

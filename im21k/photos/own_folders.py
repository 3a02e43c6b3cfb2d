"""A folder of class folders of any names -> the ids of its classes."""

import os
from pathlib import Path

from im21k import synsets
from im21k.dataset import manifest
from im21k.photos import folders, sources, tfds

# Folders of these names divide the photos of each class; they are no classes.
_SPLITS = (
  "train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval",
  "evaluation",
)  # fmt: skip


def names(root: Path) -> list[str]:
  """The class folders of `root`, in order; none where it holds photos another way.

  Folders in which there is no file are left out, such as the `__MACOSX` of a zip.
  """
  if (
    not root.is_dir()
    or (root / manifest.MANIFEST).is_file()
    or (root / tfds.INFO).is_file()
    or sources.class_tars(root)
    or folders.photo_names(root)
  ):
    return []
  return [name for name in folders.names_of(root) if folders.has_files(root, name)]


def class_list(root: Path, found: list[str]) -> synsets.ClassList:
  """The list of the classes that folders of `root` are named by, sorted by their ids.

  Raises:
    ValueError: a name is no class id, or two are the same class; says which.
  """
  found = sorted(found, key=synsets.normalized)  # However the disk writes them.
  own = root.resolve().name
  usable = own.isprintable() and 0 < len(own) <= 100
  places = [os.path.join(root, name) for name in found]
  return synsets.ClassList.checked(
    own if usable else "own classes",
    str(root),
    [*map(synsets.normalized, found)],
    places,
  )


def check_are_classes(root: Path, found: list[str]) -> None:
  """ValueError if the folders seem to hold the classes, rather than to be them."""
  first = root / found[0]
  otherwise = "if these are the classes, say so with --classes folders"
  if all(name.lower() in _SPLITS for name in found):
    shown = " and ".join(sorted(found)[:3])
    raise ValueError(
      f"{root}: its folders, {shown}, have the names of splits, not of classes: give "
      f"one of them, such as {first}, another one with --eval; {otherwise}"
    )
  with os.scandir(first) as entries:
    has_files = any(entry.is_file() for entry in entries)
  if len(found) == 1 and not has_files:
    raise ValueError(
      f"{root}: it holds one folder, and that holds only folders: give {first}; "
      f"{otherwise}"
    )

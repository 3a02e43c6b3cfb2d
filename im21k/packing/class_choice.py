"""What the option `classes` and the source say -> the class list that labels index."""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path

from im21k import synsets, words
from im21k.dataset import manifest
from im21k.dataset.manifest import Manifest
from im21k.photos import own_folders, tfds
from im21k.photos.folders import ClassFolder
from im21k.photos.tars import Tar

FOLDERS = "folders"
_SHOWN = 5


def choose(asked: str | None, source: Path, *more: Path) -> synsets.ClassList:
  """The class list of this name or file, or of these sources.

  Args:
    asked: the option; None: own classes, where the source has such and no folder of it
      is named by a synset, and else imagenet21k.
    source: folder or file of photos, or what else `photos.open` takes.
    *more: other sources to train on; of own classes, those of all are listed.

  Raises:
    ValueError: there is no such list, a folder's name is no class id, or the folders
      seem to hold the classes rather than to be them; says what to do.
  """
  if asked not in (None, FOLDERS):
    return synsets.get(asked)
  for place in (source, *more):
    if not _by_name(place) and (place / manifest.MANIFEST).is_file():
      packed = Manifest.load(place).classes(place)
      if asked or not packed.is_plain:
        return packed
  of_place = {
    place: [] if _by_name(place) else own_folders.names(place)
    for place in (source, *more)
  }
  found = list(dict.fromkeys(itertools.chain.from_iterable(of_place.values())))
  if asked and not found:
    raise ValueError(
      f"classes is {FOLDERS!r}, but {source} is no folder of class folders: give the "
      "name or the file of a class list"
    )
  if not found or (not asked and any(map(synsets.is_synset, found))):
    return synsets.imagenet21k()
  if not asked:
    for place, names in of_place.items():
      if names:
        own_folders.check_are_classes(place, names)
  return own_folders.class_list(source, found)


def with_all(
  classes: synsets.ClassList, streams: Sequence[object]
) -> synsets.ClassList:
  """The list of ILSVRC2012 instead, where only that has all classes of these streams.

  One of its thousand, n04399382, is not among the 21,841.
  """
  found = {s.synset for s in streams if isinstance(s, Tar | ClassFolder) and s.synset}
  if not found or classes != synsets.imagenet21k() or found <= set(classes.synsets):
    return classes
  with contextlib.suppress(FileNotFoundError):
    thousand = synsets.ilsvrc2012()
    if found <= set(thousand.synsets):
      return thousand
  return classes


def note(classes: synsets.ClassList) -> dict[str, str]:
  """`own_classes`, a line about a list with own classes; nothing of synsets alone."""
  if not classes.own:
    return {}
  shown = ", ".join(classes.own[:_SHOWN])
  more = ", …" if len(classes.own) > _SHOWN else ""
  placed = "" if classes.under else "; none hangs under a synset"
  what = words.counted(len(classes.own), "own class")
  return {"own_classes": f"{what} in list {classes.name!r}: {shown}{more}{placed}"}


def _by_name(place: Path) -> bool:
  return str(place).startswith(tfds.PREFIX)

"""What the option `classes` and the source say -> the class list that labels index."""

from pathlib import Path

from im21k import synsets, words
from im21k.dataset import manifest
from im21k.dataset.manifest import Manifest
from im21k.photos import own_folders, tfds

FOLDERS = "folders"
_SHOWN = 5


def choose(asked: str | None, source: Path) -> synsets.ClassList:
  """The class list of this name or file, or of this source.

  Args:
    asked: the option; None: own classes, where the source has such and no folder of it
      is named by a synset, and else imagenet21k.
    source: folder or file of photos, or what else `photos.open` takes.

  Raises:
    ValueError: there is no such list, a folder's name is no class id, or the folders
      seem to hold the classes rather than to be them; says what to do.
  """
  if asked not in (None, FOLDERS):
    return synsets.get(asked)
  by_name = str(source).startswith(tfds.PREFIX)
  if not by_name and (source / manifest.MANIFEST).is_file():
    packed = Manifest.load(source).classes(source)
    if asked or not packed.is_plain:
      return packed
  found = [] if by_name else own_folders.names(source)
  if asked and not found:
    raise ValueError(
      f"classes is {FOLDERS!r}, but {source} is no folder of class folders: give the "
      "name or the file of a class list"
    )
  if not found or (not asked and any(map(synsets.is_synset, found))):
    return synsets.imagenet21k()
  if not asked:
    own_folders.check_are_classes(source, found)
  return own_folders.class_list(source, found)


def note(classes: synsets.ClassList) -> dict[str, str]:
  """`own_classes`, a line about a list with own classes; nothing of synsets alone."""
  if not classes.own:
    return {}
  shown = ", ".join(classes.own[:_SHOWN])
  more = ", …" if len(classes.own) > _SHOWN else ""
  placed = "" if classes.under else "; none hangs under a synset"
  what = words.counted(len(classes.own), "own class")
  return {"own_classes": f"{what} in list {classes.name!r}: {shown}{more}{placed}"}

"""A folder that holds ImageNet as downloaded -> what in it is for training, what not.

In: a folder. Out: the places of the photos to train on and of those to evaluate on,
none of them unpacked. Names say where to look; whoever reads what is there checks that
it is what it should be.
"""

import re
from pathlib import Path
from typing import NamedTuple

from im21k import synsets
from im21k.dataset import manifest
from im21k.photos import image_files, names, tfds, validation

TRAIN_ARCHIVE = "ILSVRC2012_img_train.tar"
WHOLE = "fall11_whole.tar", "winter21_whole.tar.gz"  # tars of class tars, ImageNet-21k
# Of the same page, and for other tasks.
_UNUSED = re.compile(r"ILSVRC2012_(img_(test|train_t3)|bbox|devkit_t3).*\.(tar|gz|tgz)")
_KAGGLE = Path("ILSVRC/Data/CLS-LOC")


class Layout(NamedTuple):
  """Where the photos of a folder are.

  Attributes:
    train, eval: what `photos.open` takes; None where there is none.
    unused: names of files beside that hold other photos or boxes.
  """

  train: Path | None
  eval: Path | None
  unused: tuple[str, ...] = ()


def find(folder: Path) -> Layout | None:
  """The photos of a folder of downloads; None where it is none.

  Raises:
    ValueError: it holds archives of which one has to be chosen, or photos beside them.
  """
  if (
    not folder.is_dir()
    or (folder / manifest.MANIFEST).is_file()
    or (folder / tfds.INFO).is_file()
  ):
    return None
  return _of_kaggle(folder) or _of_archives(folder)


def _of_kaggle(folder: Path) -> Layout | None:
  """The layout of Kaggle's archive when it is unpacked, from any folder of it."""
  for depth in range(len(_KAGGLE.parts) + 1):
    inside = folder.joinpath(*_KAGGLE.parts[depth:])
    train, val = inside / "train", inside / "val"
    is_it = inside.resolve().parts[-3:] == _KAGGLE.parts
    if is_it and train.is_dir() and val.is_dir():
      return Layout(train, val)
  return None


def _of_archives(folder: Path) -> Layout | None:
  known = (TRAIN_ARCHIVE, validation.ARCHIVE, *WHOLE)
  if not any((folder / name).is_file() for name in known):
    return None
  found = {path.name: path for path in folder.iterdir() if path.is_file()}
  train, val = found.get(TRAIN_ARCHIVE), found.get(validation.ARCHIVE)
  whole = [name for name in WHOLE if name in found]
  of_2012 = [path.name for path in (train, val) if path]
  is_class = any(map(names.CLASS_TAR.fullmatch, found)) or any(
    synsets.is_synset(path.name) for path in folder.iterdir() if path.is_dir()
  )
  photos = [n for n in found if Path(n).suffix.lower() in image_files.SUFFIXES]
  archives = [*of_2012, *whole]
  if is_class or photos:
    beside = sorted(photos)[0] if photos else "photos of classes"
    raise ValueError(
      f"{folder} holds {' and '.join(archives)}, and {beside} beside: give one of "
      f"them, such as {folder / archives[0]}"
    )
  if len(whole) > 1 or (whole and of_2012):
    raise ValueError(
      f"{folder} holds {' and '.join(archives)}, which have photos in common: give one "
      f"of them, such as {folder / archives[0]}"
    )
  for path in filter(None, (train, *map(found.get, whole))):
    first = validation.first_name(path)
    if first is None or not names.CLASS_TAR.fullmatch(first.name):
      raise ValueError(
        f"{path} should hold a tar for each class, such as n01440764.tar, but begins "
        f"with {str(first or 'no file')[:80]!r}: get it again, or give {path} itself "
        "if it is another archive of this name"
      )
  if val and not validation.is_at(val):
    raise ValueError(
      f"{val} should hold the photos ILSVRC2012_val_00000001.JPEG and so on, but does "
      f"not begin with one: get it again, or give --eval {val} if it is another "
      "archive of this name"
    )
  if whole:
    return Layout(found[whole[0]], None)
  unused = tuple(sorted(filter(_UNUSED.fullmatch, found)))
  return Layout(train, val, unused)

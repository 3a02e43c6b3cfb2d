"""Where photos come from: `open` takes whatever people keep photos in.

In: a path or `tfds:NAME:SPLIT`. Out: a `Source`, streams of photos in their natural
order, each photo with its key, its class and its bytes. This is the only list of
readers; every command uses it.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from im21k import synsets as synset_lists
from im21k import words
from im21k.dataset import manifest
from im21k.photos import (
  downloads,
  folders,
  image_files,
  listings,
  names,
  packed,
  rec,
  tars,
  tfds,
  validation,
)
from im21k.photos.photo import Entry, Photo, Stream
from im21k.photos.source import Source, WithoutEffect
from im21k.photos.tars import Tar

__all__ = [
  "Entry", "Photo", "Source", "Stream", "Tar", "WithoutEffect", "find", "open",
]  # fmt: skip

WHAT = (
  "a folder from `im21k pack`, of class folders such as n01440764/, of tars such as "
  "n01440764.tar, of ImageNet's archives as downloaded, of photos, or prepared by "
  "TFDS; a tar or tar.gz, a .rec, .lst or .tsv, a photo, or "
  f"{tfds.PREFIX}NAME:SPLIT"
)


def open(
  where: Path | str,
  *,
  classes: synset_lists.ClassList | Sequence[str] | None = None,
  root: Path | None = None,
  labels: Path | None = None,
  split: str | None = None,
  mixed: bool = False,
) -> Source:
  """The photos at a place, recognized by what is there.

  Args:
    where: a folder that `im21k pack` wrote, of class folders (n01440764/), of tars
      (n01440764.tar), of photos, or prepared by TFDS; a tar, gzipped or not, of photos
      or of such tars; a .rec, .lst or .tsv; one photo; or tfds:NAME:SPLIT.
    classes: the class list that the numbers in a .rec or .lst index; its own classes
      are known by the names of folders, in archives too, and in a .tsv.
    root: folder that the paths of a .lst or .tsv start from; by default its own.
    labels: text file with the synset of photo n on line n, for numbered photos in one
      folder or tar; by default that of ILSVRC2012's validation photos, for those.
    split: of packed photos, by default all; of a folder prepared by TFDS, by default
      train.
    mixed: whether other folders may be beside those named by synsets; their names are
      then their classes.

  Returns:
    The source. Photos whose class nothing says have synset "".

  Raises:
    FileNotFoundError: there is nothing at `where`.
    ValueError, NotADirectoryError: it is none of these, or an argument does not suit
      it.
  """
  ids = classes.synsets if isinstance(classes, synset_lists.ClassList) else classes
  if str(where).startswith(tfds.PREFIX):
    _refuse_labels(where, labels)
    return Source((tfds.by_name(str(where)),))
  path = Path(where)
  if root is not None and path.suffix.lower() not in (".lst", ".tsv"):
    raise WithoutEffect(
      f"root is only used for the paths in a .lst or .tsv, and {where} is neither: "
      "leave root out"
    )
  if path.is_dir():
    return _in_folder(path, labels, split, tuple(ids or ()), mixed)
  if not path.is_file():
    if path.exists():
      raise ValueError(f"{path} is a pipe, a socket or a device; photos can be {WHAT}")
    raise FileNotFoundError(f"{path} does not exist; photos can be {WHAT}")
  suffix = path.suffix.lower()
  if suffix not in image_files.SUFFIXES | {".lst", ".tsv", ".rec"} and tars.is_tar(
    path
  ):
    own = frozenset(one for one in ids or () if not synset_lists.is_synset(one))
    said, files = _labels_of(path, labels)
    return Source(tuple(tars.in_file(path, said, own)), files=files)
  _refuse_labels(where, labels)
  if suffix in (".lst", ".rec") and not ids:
    raise ValueError(f"{path}: its labels are numbers, so a class list must be given")
  if suffix in (".lst", ".tsv"):
    root = root or path.parent
    return Source((listings.Listed(path, root, tuple(ids or ())),), root)
  if suffix == ".rec":
    return Source((rec.Rec(path, path.stat().st_size, tuple(ids or ())),))
  if suffix in image_files.SUFFIXES or image_files.is_image(path):
    return Source((folders.PhotoFolder(path.parent, (path.name,)),), path.parent)
  raise NotADirectoryError(f"{path} is none of what photos can be: {WHAT}")


def find(
  path: Path,
  synsets: tuple[str, ...],
  root: Path | None = None,
  labels: Path | None = None,
  split: str | None = None,
  mixed: bool = False,
) -> Source:
  """`open` for packing, which needs the class of every file before it reads them.

  Raises:
    ValueError: nothing says the class of any photo of a folder; see `open` too.
  """
  source = open(
    path, classes=synsets, root=root, labels=labels, split=split, mixed=mixed
  )
  match source.streams:
    case (folders.PhotoFolder() as stream,):
      entries = list(stream.entries())
      if not any(entry.synset for entry in entries):
        _refuse_archives(path, entries)
        raise ValueError(
          f"{entries[0].path}: nothing says its class: put photos into folders named "
          "by their classes, or list them in a .tsv of path and synset"
        )
  return source


def _refuse_archives(folder: Path, entries: Sequence[Entry]) -> None:
  """ValueError if a folder holds archives, none of which says its photos' class."""
  keys = (entry.key for entry in entries)
  found = [name for name in keys if name.lower().endswith(tars.SUFFIXES)]
  if found:
    what = words.counted(len(found), "archive")
    first = min(found, key=lambda name: ("devkit" in name, name))
    raise ValueError(
      f"{folder} holds {what}, and no photo of a class: give one of them, such as "
      f"{folder / first}, and another one with --eval, if it is for evaluation"
    )


def _in_folder(
  path: Path,
  labels: Path | None,
  split: str | None,
  ids: tuple[str, ...],
  mixed: bool,
) -> Source:
  if (path / manifest.MANIFEST).is_file():
    _refuse_labels(path, labels)
    return Source(tuple(packed.shards(path, split)))
  if (path / tfds.INFO).is_file():
    _refuse_labels(path, labels)
    return Source((tfds.in_folder(path, split),))
  if layout := downloads.find(path):
    return _of_layout(path, layout, labels, split, ids, mixed)
  inside = class_tars(path)
  if not inside and (photos := folders.photo_names(path)):
    said, files = _labels_of(path, labels)
    return Source((folders.numbered(path, photos, said),), path, files)
  classes = folders.class_folders(path, bool(inside), ids, mixed)
  photos = folders.beside_classes(path)
  if not any(map(names.VALIDATION.fullmatch, photos)):
    _refuse_labels(path, labels)
  beside = [folders.numbered(path, photos, _read(labels))] if photos else []
  return Source((*classes, *inside, *beside), None if inside else path)


def _of_layout(
  path: Path,
  layout: downloads.Layout,
  labels: Path | None,
  split: str | None,
  ids: tuple[str, ...],
  mixed: bool,
) -> Source:
  """The photos of ImageNet as downloaded: those of a split, or of both."""
  chosen = [
    place
    for name, place in (("train", layout.train), ("eval", layout.eval))
    if place and split in (None, name)
  ]
  if not chosen:
    raise ValueError(f"{path} has no {split!r} photos: leave the split out")
  opened = [
    open(
      place,
      classes=ids,
      labels=labels if place is layout.eval else None,
      mixed=mixed,
    )
    for place in chosen
  ]
  streams = tuple(itertools.chain.from_iterable(one.streams for one in opened))
  return Source(streams, None, tuple(file for one in opened for file in one.files))


def class_tars(folder: Path) -> list[Tar]:
  """The tars of a folder that are named by synsets, gzipped or not."""
  found = (p for p in sorted(folder.iterdir()) if p.is_file())
  named = ((names.CLASS_TAR.fullmatch(path.name), path) for path in found)
  return [Tar(path, 0, path.stat().st_size, match[1]) for match, path in named if match]


def _labels_of(
  path: Path, labels: Path | None
) -> tuple[tuple[str, ...] | None, tuple[Path, ...]]:
  """Labels of numbered photos, as given or lying beside, and the file that has them."""
  if labels is not None:
    return _read(labels), (labels,)
  found = validation.labels_beside(path)
  return (found.synsets, (found.file,)) if found else (None, ())


def _read(labels: Path | None) -> tuple[str, ...] | None:
  return None if labels is None else tuple(synset_lists.validation_labels(labels))


def _refuse_labels(where: Path | str, labels: Path | None) -> None:
  if labels is not None:
    raise WithoutEffect(
      "labels are only used for numbered photos, such as ILSVRC2012_val_*.JPEG, in one "
      f"folder or tar, and {where} is not such a place: leave labels out"
    )

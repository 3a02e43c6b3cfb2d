"""ILSVRC2012's validation photos -> their labels, which are in another file.

In: a tar or a folder of `ILSVRC2012_val_00000001.JPEG` and so on. Out: the synset of
each number, from the development kit that lies beside, or else from the published list;
and whether the photos there are those that the labels are for.
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from im21k import words
from im21k.photos import devkit, gzips, kaggle, names, tar_headers, tar_input, tars
from im21k.photos.archives import Reader
from im21k.photos.tar_parts import Lost, Member

ARCHIVE = "ILSVRC2012_img_val.tar"
ALL = 50_000  # photos
_LOOK = 64  # members to look at before it is clear that a tar is not theirs


class Labels(NamedTuple):
  """The synset of photo n at position n - 1, and the file that says so."""

  synsets: tuple[str, ...]
  file: Path


class Numbers(NamedTuple):
  """What numbers the photos of a place have.

  Attributes:
    photos: how many photos.
    highest: the highest number; 0 if there are none.
    distinct: how many numbers.
    is_whole: whether all of the place could be looked at.
  """

  photos: int
  highest: int
  distinct: int
  is_whole: bool

  def are_all(self, count: int) -> bool:
    """Whether they are 1 to `count`, each once."""
    return self.photos == self.distinct == self.highest == count


def labels_beside(place: Path) -> Labels | None:
  """The labels of the development kit beside a tar, or in or beside a folder.

  Those of Kaggle's folder `ILSVRC/Data/CLS-LOC/val` are in LOC_val_solution.csv.

  Raises:
    ValueError: the kit is damaged, or is not for so many photos.
  """
  if table := kaggle.beside(place):
    return Labels(kaggle.labels(table), table) if is_at(place) else None
  folders = (place, place.parent) if place.is_dir() else (place.parent,)
  kits = filter(None, map(devkit.beside, folders))
  kit = next(kits, None)
  if kit is None or not is_at(place):
    return None
  labels = devkit.labels(kit)
  found = numbers(place)
  known = len(labels)
  if found.highest > known or (found.is_whole and not found.are_all(known)):
    what = words.counted(found.photos, "validation photo")
    about = f", numbered up to {found.highest:,}" if found.highest != known else ""
    raise ValueError(
      f"{place} has {what}{about}, but {kit} has labels for photos 1 to {known:,}: get "
      "both again, or give --labels, a text file with the synset id of photo n in "
      "line n"
    )
  return Labels(labels, kit)


def is_at(place: Path) -> bool:
  """Whether a tar or a folder holds validation photos, by the names in it."""
  if place.is_dir():
    return any(names.VALIDATION.fullmatch(path.name) for path in place.iterdir())
  if not place.is_file() or not tars.is_tar(place):
    return False
  first = first_name(place)
  is_classed = first is not None and names.class_folder(first)
  return bool(first and not is_classed and names.VALIDATION.fullmatch(first.name))


def first_name(place: Path) -> PurePosixPath | None:
  """The path of the first file in a tar; None where none is near its beginning."""
  for member in itertools.islice(_members(place), _LOOK):
    if isinstance(member, Member) and member.regular and not _is_hidden(member):
      return PurePosixPath(member.name)
  return None


def numbers(place: Path) -> Numbers:
  """The numbers of the validation photos at a place; of a tar, its headers are read."""
  if place.is_dir():
    return _counted((path.name for path in place.iterdir()), True)
  status = place.stat()
  return _in_tar(place, status.st_size, status.st_mtime_ns)


def missing_kit(place: Path) -> ValueError:
  """The error that nothing says the classes of the photos at a place."""
  return ValueError(
    f"{place} holds validation photos of ILSVRC2012, whose labels are in none of its "
    f"files: put the development kit for tasks 1 and 2, {devkit.NAME} of image-net.org "
    "(under ILSVRC2012, Development kit), beside it; or give --labels, a text file "
    "with the synset id of photo n in line n"
  )


@functools.lru_cache(maxsize=8)
def _in_tar(place: Path, size: int, time: int) -> Numbers:
  is_whole = True

  def found() -> Iterator[str]:
    nonlocal is_whole
    for member in _members(place):
      if isinstance(member, Lost):
        is_whole = False
      elif member.type not in tar_headers.FOLDERS and not _is_hidden(member):
        yield _name(member)

  counted = _counted(found(), True)
  return counted._replace(is_whole=is_whole)


def _counted(found: Iterator[str], is_whole: bool) -> Numbers:
  matches = filter(None, map(names.VALIDATION.fullmatch, found))
  known = bytearray()  # A byte a number, up to the highest that is possible.
  count = highest = 0
  for match in matches:
    number = int(match[1])
    count, highest = count + 1, max(highest, number)
    if number <= 2 * ALL:
      known += bytes(max(0, number + 1 - len(known)))
      known[number] = 1
  return Numbers(count, highest, sum(known[1:]), is_whole)


def _members(path: Path) -> Iterator[Member | Lost]:
  if gzips.is_gzip(path):
    with gzips.Gzip(path) as zipped:
      yield from _Headers(tar_input.Input(zipped))
      if zipped.damages:
        yield Lost(zipped.damages[0].offset, 0, zipped.damages[0].reason)
    return
  size = path.stat().st_size
  with tar_input.open_part(path, 0, size) as file:
    yield from _Headers(tar_input.Input(file), size)


class _Headers(Reader):
  """A reader that looks at no data, and so finds less damage."""

  def _leave(self, member: Member) -> Iterator[Lost]:
    self._data.skip(member.end - self._data.at)
    yield from ()


def _is_hidden(member: Member) -> bool:
  return names.is_hidden(PurePosixPath(member.name))


def _name(member: Member) -> str:
  """The file's own name; "" where a folder says its class."""
  path = PurePosixPath(member.name)
  return "" if names.class_folder(path) else path.name

"""What people write where photos are meant -> photos, each read when it is needed.

In: paths of photos, folders and archives; patterns such as `holiday/*.jpg`; `-` for
paths on standard input. Out: `photos.Photo`s, of which one without bytes says why.
"""

import codecs
import dataclasses
import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from im21k import synsets
from im21k.photos import folders, image_files, sources
from im21k.photos.photo import Entry, Photo

STDIN = "-"
_NO_TEXT = re.compile(rb"^[\xff\x89]|[\x01-\x08\x0e-\x1f]|\0\0")
_KINDS = re.compile("; photos can be .*|: " + re.escape(sources.WHAT), re.DOTALL)
_LONGEST = 1 << 16  # Bytes of a path on standard input; systems allow 4,096.


@dataclasses.dataclass(frozen=True)
class Places:
  """A stream of the photos at some places, in their order; see `photos.Stream`.

  Attributes:
    places: image files, or whatever `photos.open` takes.
    classes: class list that the numbers in a .rec or .lst index.
  """

  places: Iterable[Path]
  classes: synsets.ClassList
  size: int = 0
  count: int | None = None

  def photos(self) -> Iterator[Photo]:
    """The photos, with the path of each as its key.

    A place that holds none, or cannot be read to its end, is a photo with a problem,
    whose key is the place and whose heading is empty.
    """
    for place in self.places:
      empty = True
      try:
        for photo in self._inside(place):
          empty = False
          yield photo
      except (ValueError, OSError) as error:
        yield Photo(str(place), "", problem=("", _reason(place, error)))
      else:
        if empty:
          yield Photo(str(place), "", problem=("", "it holds no photos"))

  def _inside(self, place: Path) -> Iterator[Photo]:
    if is_photo(place):
      name = str(place)
      yield folders.from_entry(Entry(name, "", name))
      return
    for photo in sources.open(place, classes=self.classes, mixed=True):
      yield photo.named(f"{place}/{photo.key}", photo.synset)


def is_photo(place: Path) -> bool:
  """Whether there is a file that should be one photo; OSError as of `Path.is_file`."""
  return place.is_file() and (
    place.suffix.lower() in image_files.SUFFIXES or image_files.is_image(place)
  )


def named(places: Iterable[Path]) -> Iterator[Path]:
  """The places that are meant: patterns are replaced by what matches, in order.

  A pattern is a path that does not exist and has one of `*?[`; `**` stands for any
  number of folders. One that nothing matches stays, to be reported. `-` is replaced by
  the paths on standard input, one a line, or as `find -print0` writes them; these are
  no patterns.

  Raises:
    ValueError: standard input is no list of paths.
  """
  for place in places:
    if str(place) == STDIN:
      yield from _on_stdin()
    elif _is_literal(place):
      yield place
    else:
      matches = sorted(glob.glob(_pattern(place), recursive=True))
      yield from map(Path, matches or [str(place)])


def _on_stdin() -> Iterator[Path]:
  try:
    descriptor = os.dup(sys.stdin.fileno())
  except (AttributeError, OSError, ValueError) as error:  # It is closed, or no file.
    raise ValueError("standard input is closed, so - names no photos") from error
  # A file of its own: whoever waits in Python's own one keeps the process from ending.
  with open(descriptor, "rb") as stream:
    yield from listed(stream)


def listed(stream: BinaryIO) -> Iterator[Path]:
  """Paths in a stream, each as soon as it is there: one a line, or NUL behind each.

  Raises:
    ValueError: it begins as an image does, or has a line longer than any path.
  """
  first = True
  while line := stream.readline(_LONGEST):
    if first:
      line = line.removeprefix(codecs.BOM_UTF8)
      if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("standard input is in UTF-16: write the list in UTF-8")
      if _begins_as_image(line):
        raise ValueError(
          "standard input is an image, but - is for a list of paths: name the file"
        )
    first = False
    if len(line) == _LONGEST and b"\0" not in line:
      raise ValueError(
        f"standard input has a line of more than {_LONGEST:,} bytes: give one path a "
        "line"
      )
    if b"\0" in line:  # The rest of the list has no lines.
      yield from _ended_by_nul(line, stream)
      return
    if path := os.fsdecode(line.rstrip(b"\r\n")):
      yield Path(path)


def _ended_by_nul(begun: bytes, stream: BinaryIO) -> Iterator[Path]:
  """The paths in bytes and the rest of their stream."""
  while begun:
    *paths, begun = begun.split(b"\0")
    yield from (Path(os.fsdecode(path)) for path in paths if path)
    if len(begun) > _LONGEST:
      raise ValueError(f"standard input has a path of more than {_LONGEST:,} bytes")
    more = stream.read(_LONGEST)
    if not more:
      if begun:
        yield Path(os.fsdecode(begun.rstrip(b"\n")))
      return
    begun += more


def _begins_as_image(line: bytes) -> bool:
  """Whether these are no paths; `BMW/1.jpg` begins as a BMP does."""
  head = line[: image_files.SIGNATURE]
  return image_files.begins_as_image(head) and bool(_NO_TEXT.search(head))


def _pattern(place: Path) -> str:
  """What `glob` takes: of folders that exist, brackets are part of the name."""
  known = next((above for above in place.parents if os.path.lexists(above)), Path())
  return os.path.join(glob.escape(str(known)), place.relative_to(known))


def _is_literal(place: Path) -> bool:
  if str(place) == STDIN:
    return False
  return not glob.has_magic(str(place)) or os.path.lexists(place)


def _reason(place: Path, error: ValueError | OSError) -> str:
  """Why a place gave no photo; its name stands beside the reason."""
  if isinstance(error, FileNotFoundError) and not _is_literal(place):
    return "nothing matches this pattern"
  strerror = error.strerror if isinstance(error, OSError) else None
  if strerror:
    return strerror[:1].lower() + strerror[1:]
  # In a row for each of many, neither the name nor the list of all kinds again.
  return _KINDS.sub("", str(error).removeprefix(f"{place} "))

"""What the path of a photo says: its class and its key.

The rules are the same for a folder and for an archive: the outermost folder that is
named by a synset, or by an own class, decides, then the file's own name, then its
number in a list.
"""

import functools
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

from im21k import synsets

# The validation photos of ILSVRC2012, numbered from 1.
VALIDATION = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")
# The photos of a class: a tar, which may be gzipped, named by its synset.
CLASS_TAR = re.compile(
  rf"({synsets.SYNSET})\.(?:[tT][aA][rR](\.[gG][zZ])?|[tT][gG][zZ])"
)
LONGEST = 0xFFFF  # bytes of a key
_IN_NAME = re.compile(rf"(?<![0-9A-Za-z])({synsets.SYNSET})(?![0-9A-Za-z])")
_AT_START = re.compile(rf"{synsets.SYNSET}(?![0-9A-Za-z])")
_NUMBER = re.compile(r"([0-9]{8})\.\w+$")


def locate(
  name: str | PurePosixPath,
  labels: Sequence[str] | None = None,
  own: AbstractSet[str] = frozenset(),
) -> tuple[str, str]:
  """Synset ("" where nothing says it) and key of a photo.

  The key is the path from the folder that says the class; the whole path where none
  does.

  Args:
    name: its path, with slashes, below the folder or in the archive.
    labels: synset of photo n at position n - 1; None takes those of ILSVRC2012's
      validation photos, for their names only.
    own: ids of own classes, which folders may be named by.
  """
  path = PurePosixPath(name) if isinstance(name, str) else name
  if folder := class_folder(path, own):
    at, synset = folder
    return synset, "/".join((synset, *path.parts[at + 1 :]))
  return in_name(path.name) or _by_number(path.name, labels), str(path)


def class_folder(
  path: PurePosixPath, own: AbstractSet[str] = frozenset()
) -> tuple[int, str] | None:
  """Position and class of the folder of a path that says its class."""
  if own:
    for at, part in enumerate(path.parts[:-1]):
      if synsets.is_synset(part) or synsets.normalized(part) in own:
        return at, synsets.normalized(part)
  for is_named in (synsets.is_synset, _AT_START.match):
    for at, part in enumerate(path.parts[:-1]):
      if is_named(part):
        return at, part[:9]
  return None


def in_name(name: str) -> str:
  """The synset in a file's own name; "" if there is none, or several."""
  found = set(_IN_NAME.findall(name))
  return found.pop() if len(found) == 1 else ""


def within(synset: str, name: str) -> str:
  """The key of a photo whose class is known, from its path in that class's archive."""
  parts = PurePosixPath(name).parts
  return "/".join((synset, *(parts[1:] if parts[0] == synset else parts)))


def leaves(name: str) -> bool:
  """Whether a path is absolute or leads out of its folder."""
  # Text is quicker than paths, and this is asked for every photo.
  if name.startswith("/") or "\0" in name:
    return True
  return ".." in name and ".." in name.split("/")


def is_hidden(path: PurePosixPath) -> bool:
  """Whether a name in a path begins with a dot, as those of AppleDouble files do."""
  return any(part.startswith(".") and part != ".." for part in path.parts)


@functools.cache
def validation_labels() -> tuple[str, ...]:
  """The synsets of ILSVRC2012's validation photos, in the order of their numbers."""
  return tuple(synsets.validation_labels())


def _by_number(name: str, labels: Sequence[str] | None) -> str:
  match = VALIDATION.fullmatch(name) if labels is None else _NUMBER.search(name)
  if match is None:
    return ""
  if labels is None:
    labels = validation_labels()
  number = int(match[1])
  return labels[number - 1] if 1 <= number <= len(labels) else ""

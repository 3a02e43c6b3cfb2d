"""What the path of a photo says: its class and its key.

The rules are the same for a folder and for an archive: the outermost folder that is
named by a synset decides, then the file's own name, then its number in a list.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from im21k import synsets

# The validation photos of ILSVRC2012, numbered from 1.
VALIDATION = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")
_IN_NAME = re.compile(rf"(?<![0-9A-Za-z])({synsets.SYNSET})(?![0-9A-Za-z])")
_AT_START = re.compile(synsets.SYNSET)
_NUMBER = re.compile(r"([0-9]{8})\.\w+$")


def locate(name: str, labels: Sequence[str] | None = None) -> tuple[str, str]:
  """Synset ("" where nothing says it) and key of a photo.

  Args:
    name: its path, with slashes, below the folder or in the archive.
    labels: synset of photo n at position n - 1; None takes those of ILSVRC2012's
      validation photos, for their names only.
  """
  path = PurePosixPath(name)
  for is_named in (synsets.is_synset, _AT_START.match):
    for at, part in enumerate(path.parts[:-1]):
      if is_named(part):
        synset = part[:9]
        return synset, "/".join((synset, *path.parts[at + 1 :]))
  match = _IN_NAME.search(path.name)
  synset = match[1] if match else _by_number(path.name, labels)
  return synset, f"{synset}/{path.name}" if synset else str(path)


def within(synset: str, name: str) -> str:
  """The key of a photo whose class is known, from its path in that class's archive."""
  parts = PurePosixPath(name).parts
  rest = parts[parts.index(synset) + 1 :] if synset in parts[:-1] else parts
  return "/".join((synset, *rest))


def leaves(name: str) -> bool:
  """Whether a path is absolute or leads out of its folder."""
  path = PurePosixPath(name)
  return path.is_absolute() or ".." in path.parts or "\0" in name


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

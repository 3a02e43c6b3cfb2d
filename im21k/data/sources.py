"""Where photos come from: a stream of entries, in the order in which they lie."""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

_SYNSET = re.compile(r"n[0-9]{8}")


@dataclasses.dataclass(frozen=True)
class Entry:
  """A photo that can be read: its key, its synset, and the file."""

  key: str
  synset: str
  where: Path


def synset_folders(root: Path) -> Iterator[Entry]:
  """The files below `root/nXXXXXXXX/`, names beginning with a dot left out.

  Raises:
    NotADirectoryError, ValueError: `root` is no folder, holds no synset folder, or
      holds a folder whose name is no synset id.
  """
  if not root.is_dir():
    raise NotADirectoryError(
      f"{root} is no folder; its photos should lie in synset folders such as n01440764/"
    )
  folders = sorted(e.name for e in os.scandir(root) if _visible(e) and e.is_dir())
  strangers = [name for name in folders if not _SYNSET.fullmatch(name)]
  if strangers:
    raise ValueError(
      f"{root}: {_some(strangers)} named by no synset id: every folder should be "
      "called like n01440764"
    )
  if not folders:
    raise ValueError(
      f"{root} is empty: no folder in it is named by a synset id (n01440764, say)"
    )
  for synset in folders:
    for path in _files(root / synset):
      yield Entry(path.relative_to(root).as_posix(), synset, path)


def _files(folder: Path) -> Iterator[Path]:
  entries = sorted((e for e in os.scandir(folder) if _visible(e)), key=lambda e: e.name)
  for entry in entries:
    if entry.is_dir(follow_symlinks=False):
      yield from _files(Path(entry.path))
    else:
      yield Path(entry.path)


def _visible(entry: os.DirEntry) -> bool:
  return not entry.name.startswith(".")


def _some(names: list[str]) -> str:
  shown = ", ".join(repr(name) for name in names[:3])
  verb = "is a folder" if len(names) == 1 else "are folders"
  return f"{shown}{' …' if len(names) > 3 else ''} {verb}"

"""Files that appear whole or not at all: write aside, fsync, rename."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".writing-"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
  """Gives a path to write to; what was written becomes `path` if nothing raises.

  A killed process leaves a file whose name begins with `TEMPORARY`, never half of
  `path`; `remove_leftovers` clears those away.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
  try:
    yield aside
    sync(aside)
    os.replace(aside, path)
    sync(path.parent)
  finally:
    aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
  """Writes `text` in UTF-8 as the whole file `path`."""
  with whole(path) as aside:
    aside.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
  """Waits until a file's bytes, or a folder's names, are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
  """Removes what killed writers left in `folder`; call it while none is writing."""
  for leftover in folder.glob(f"{TEMPORARY}*"):
    leftover.unlink()

"""Files that appear whole or not at all: temporary file, fsync, rename."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TEMPORARY = ".writing-"


@contextlib.contextmanager
def whole(path: Path, folder: Path | None = None) -> Iterator[Path]:
  """Gives a temporary path, whose file becomes `path` if nothing raises.

  A killed process leaves a file whose name begins with `TEMPORARY`, never half of
  `path`; `remove_leftovers` removes such files.

  Args:
    path: the file to write.
    folder: folder of the temporary file, on the same disk; by default that of `path`.

  Raises:
    FileNotFoundError: nothing was written to the temporary path.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  aside = (folder or path.parent) / f"{TEMPORARY}{os.getpid()}-{path.name}"
  try:
    yield aside
    sync(aside)
    os.replace(aside, path)
    sync(path.parent)
  finally:
    aside.unlink(missing_ok=True)


def write_text(path: Path, text: str, folder: Path | None = None) -> None:
  """Writes `text` in UTF-8 as the file `path`; `folder` is as in `whole`."""
  with whole(path, folder) as aside:
    aside.write_text(text, encoding="utf-8")


def create_text(path: Path, text: str) -> None:
  """Writes `text` as the file `path` unless it exists: of several writers one wins."""
  aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
  try:
    aside.write_text(text, encoding="utf-8")
    sync(aside)
    with contextlib.suppress(FileExistsError):
      os.link(aside, path)
    sync(path.parent)
  finally:
    aside.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
  """The JSON object in a file; ValueError if it holds something else."""
  try:
    document = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path} is damaged: {error}") from error
  if not isinstance(document, dict):
    raise ValueError(f"{path} is damaged: it is not a JSON object")
  return document


def sync(path: Path) -> None:
  """Waits until a file's bytes, or a folder's entries, are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove_leftovers(
  folder: Path, of: Callable[[str], bool] = lambda name: True
) -> None:
  """Removes temporary files of killed writers; call it while none is writing.

  Args:
    folder: folder of the temporary files.
    of: whether those of a file with this name are to be removed.
  """
  for leftover in folder.glob(f"{TEMPORARY}*"):
    if of(leftover.name.removeprefix(TEMPORARY).partition("-")[2]):
      leftover.unlink(missing_ok=True)

"""Files that appear whole or not at all (temporary file, fsync, rename); JSON."""

import collections
import contextlib
import io
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TEMPORARY = ".writing-"
LARGEST = 16 << 20  # bytes of JSON: a manifest of 80,000 shards; 0.5 GB as objects


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


def read(path: str | bytes) -> bytes:
  """A file's bytes, at half the cost of `Path.read_bytes`."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    size = os.fstat(descriptor).st_size
    data = os.read(descriptor, size)
    if len(data) == size:
      return data
    pieces = [data]  # One call reads at most 2 GB, and less if a signal comes.
    while piece := os.read(descriptor, 1 << 20):
      pieces.append(piece)
    return b"".join(pieces)
  finally:
    os.close(descriptor)


def open_regular(path: Path) -> io.BufferedReader:
  """Opens a regular file to read it; ValueError for anything else.

  A FIFO that nobody writes to would be waited for, and a device may never end.
  """
  descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
  if not stat.S_ISREG(os.fstat(descriptor).st_mode):
    os.close(descriptor)
    raise ValueError(f"{path} is not a regular file: name a file, or copy it again")
  return os.fdopen(descriptor, "rb")


def read_json(path: Path, remedy: str = "", largest: int = LARGEST) -> dict[str, Any]:
  """The JSON object in a file.

  Args:
    path: the file.
    remedy: what to do if it is damaged; ends every message.
    largest: bytes that the file may have.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no regular file, too large, or not one JSON object.
  """
  remedy = remedy and f"; {remedy}"
  if path.exists() and not path.is_file():  # A FIFO would be waited for.
    raise ValueError(f"{path} is not a regular file{remedy}")
  with path.open("rb") as file:
    data = file.read(largest + 1)
  if len(data) > largest:
    raise ValueError(f"{path} is damaged: it has more than {largest:,} bytes{remedy}")
  try:
    document = parse_json(data)
    if not isinstance(document, dict):
      raise ValueError("it is not a JSON object")
  except ValueError as error:
    raise ValueError(f"{path} is damaged: {error}{remedy}") from error
  return document


def parse_json(data: bytes) -> Any:
  """JSON in UTF-8, with a byte-order mark or without.

  Raises:
    ValueError: it is not, or readers disagree about it: a name that comes twice in an
      object, NaN, infinity, nesting beyond Python's stack.
  """
  try:
    return json.loads(
      data.decode("utf-8-sig"),
      object_pairs_hook=_object,
      parse_constant=_finite,
      parse_float=_finite,
    )
  except RecursionError:
    raise ValueError("it is nested too deeply") from None


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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  made = dict(pairs)
  if len(made) < len(pairs):
    ((twice, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
    raise ValueError(f"the field {twice[:80]!r} comes twice")
  return made


def _finite(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f"{text[:80]} is not a finite number")
  return value

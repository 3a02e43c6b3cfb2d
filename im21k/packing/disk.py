"""Reads and writes in few large calls, as the external shuffle needs them; sizes."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

# Most pieces and bytes of one call to write: from 1 MB on the page cache allocates
# large pages, which costs several times as much while free memory is scarce.
_MOST_PIECES, _MOST_BYTES = 1024, 256 << 10


def write_pieces(path: Path, pieces: Iterable[memoryview]) -> None:
  """Writes the pieces one after another, as one file."""
  with path.open("wb", buffering=0) as file:
    batch: list[memoryview] = []
    size = 0
    for piece in pieces:
      if batch and (size + len(piece) > _MOST_BYTES or len(batch) == _MOST_PIECES):
        _write_all(file, batch, size)
        batch, size = [], 0
      batch.append(piece)
      size += len(piece)
    if batch:
      _write_all(file, batch, size)


def read_into(path: Path, start: int, view: memoryview) -> None:
  """Fills `view` with the bytes of a file from `start` on.

  Raises:
    OSError: the file is shorter.
  """
  with path.open("rb", buffering=0) as file:
    file.seek(start)
    got = 0
    while got < len(view):
      count = file.readinto(view[got:])
      if not count:
        raise OSError(
          f"{path} ends early, at byte {start + got:,}: remove {path.parent}, and pack "
          "again"
        )
      got += count


def size_of(paths: list[bytes]) -> int:
  """Bytes of the files with these paths; of missing ones none."""
  total = 0
  for path in paths:
    try:
      total += os.stat(path).st_size
    except OSError:
      continue  # It will be rejected.
  return total


def _write_all(file: io.FileIO, pieces: list[memoryview], size: int) -> None:
  written = os.writev(file.fileno(), pieces)
  if written < size:  # A full disk accepts a part; the next call raises.
    rest = memoryview(b"".join(pieces))[written:]
    while rest:
      rest = rest[file.write(rest) :]

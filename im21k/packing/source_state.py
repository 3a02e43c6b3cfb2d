"""What a source was when packing began: key, size, time and class of each of its files.

In: a source. Out: a list of its files with a digest; two lists -> the first difference.
So a resumed run notices that the source is another one, and every run that it changed
while it was read.
"""

import contextlib
import dataclasses
import datetime
import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from im21k import files
from im21k.dataset.manifest import MANIFEST
from im21k.photos import packed, sources, tfds

_AT_ONCE = 256  # lines between two writes
_CHUNK = 1 << 20  # bytes
_NOTHING = "-"  # size and time of a file that is not there


class _Line(NamedTuple):
  """A line of a list: bytes and modification time in ns, synset, key."""

  size: str
  time: str
  synset: str
  key: str


class Recorder:
  """Writes the list of a source's files.

  Attributes:
    path: the list, a temporary file: a gzipped line for each file, with \\0 at its end.
    size: bytes of the files that were recorded so far.
  """

  def __init__(self, path: Path, file: Any):
    """Takes the temporary file, and what is written to it."""
    self.path, self._file, self._digest = path, file, xxhash.xxh3_128()
    self._lines: list[str] = []
    self.size = 0

  def entries(self, stream: Any) -> Iterator[sources.Entry]:
    """The entries of a stream of loose files, each recorded as it passes."""
    lines, stat = self._lines, os.stat
    for entry in stream.entries():
      key, synset, path, _ = entry
      try:
        status = stat(path)
      except (OSError, ValueError):  # Reading it will say why.
        lines.append(f"{_NOTHING} {_NOTHING} {synset} {key}\0")
      else:
        self.size += status.st_size
        lines.append(f"{status.st_size} {status.st_mtime_ns} {synset} {key}\0")
      if len(lines) >= _AT_ONCE:
        self._flush()
      yield entry

  def add(self, source: sources.Source) -> list[Any]:
    """Records all of a source; returns its streams, of loose files with their bytes."""
    streams: list[Any] = []
    paths: set[Path] = set()
    for stream in source.streams:
      if hasattr(stream, "entries"):
        before = self.size
        for _ in self.entries(stream):
          pass
        stream = dataclasses.replace(stream, size=self.size - before)
      else:
        paths |= self._facts(stream)
      streams.append(stream)
    for path in sorted(paths | set(source.files)):
      self._file_at(path)
    return streams

  def begin(self, name: str) -> None:
    """Says that what follows is of another one of several sources."""
    self._fact(name, "source")

  def others(self, source: sources.Source) -> None:
    """Records the files of a source of loose files that say their classes."""
    for path in sorted(source.files):
      self._file_at(path)

  def digest(self) -> str:
    """The digest of the list, which is then on the disk."""
    self._flush()
    self._file.close()
    files.sync(self.path)
    return self._digest.hexdigest()

  def _facts(self, stream: Any) -> set[Path]:
    """Records what identifies a stream beside its files; returns those."""
    if isinstance(stream, tfds.Prepared):
      self._fact(f"{stream.where}:{stream.split}", f"{stream.count} photos")
      return {path for path in stream.folder().iterdir() if path.is_file()}
    if not isinstance(stream, packed.Shard):
      return {stream.path}
    manifest = stream.path.parent / MANIFEST
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    self._fact(str(manifest), f"SHA-256 {digest}")
    return {stream.path}

  def _fact(self, name: str, value: str) -> None:
    line = f"{_NOTHING} {_NOTHING} {value.replace(' ', '_')} {name}\0"
    if line not in self._lines[-1:]:  # One of many shards.
      self._lines.append(line)

  def _file_at(self, path: Path) -> None:
    status = os.stat(path)
    self._lines.append(f"{status.st_size} {status.st_mtime_ns} {_NOTHING} {path}\0")

  def _flush(self) -> None:
    data = "".join(self._lines).encode("utf-8", "surrogateescape")
    self._lines.clear()
    self._digest.update(data)
    self._file.write(data)


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[Recorder]:
  """A recorder whose list is in this folder, until the context ends or it is moved."""
  path = folder / files.temporary_name(f"{threading.get_ident()}-files.gz")
  try:
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as file:
      yield Recorder(path, file)
  finally:
    path.unlink(missing_ok=True)


def difference(before: Path, now: Path) -> str:
  """The first difference between two lists, in words."""
  try:
    old, new = _lines(before), _lines(now)
    while True:
      was, is_ = next(old, None), next(new, None)
      if was is None and is_ is None:
        return "its files differ"
      if was == is_:
        continue
      if was is None or is_ is None or was.key != is_.key:
        gone = was is not None and all(line.key != was.key for line in new)
        if was is not None and (gone or is_ is None):
          return f"{_shown(was)} is gone"
        assert is_ is not None
        return f"{_shown(is_)} is new"
      return f"{_shown(is_)} {_changed(was, is_)}"
  except (OSError, EOFError, ValueError):
    return "its files differ"  # The list has been removed or damaged.


def _changed(was: _Line, is_: _Line) -> str:
  if was.size != is_.size:
    if is_.size == _NOTHING:
      return "cannot be found any more"
    if was.size == _NOTHING:
      return "is there, and was not"
    return f"has {int(is_.size):,} bytes, had {int(was.size):,}"
  if was.synset != is_.synset:
    return f"is {is_.synset}, was {was.synset}"
  return f"was modified at {_clock(is_.time)}, before at {_clock(was.time)}"


def _clock(time: str) -> str:
  moment = datetime.datetime.fromtimestamp(int(time) / 1e9, datetime.UTC)
  return f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"


def _shown(line: _Line) -> str:
  return line.key if line.key.isprintable() else ascii(line.key)[1:-1]


def _lines(path: Path) -> Iterator[_Line]:
  with gzip.open(path) as file:
    rest = b""
    while chunk := file.read(_CHUNK):
      *whole, rest = (rest + chunk).split(b"\0")
      for line in whole:
        yield _Line(*line.decode("utf-8", "surrogateescape").split(" ", 3))

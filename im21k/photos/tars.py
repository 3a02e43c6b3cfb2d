"""Photos in a tar, gzipped or not, or in a tar of tars; nothing is unpacked."""

import dataclasses
import functools
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from im21k import synsets
from im21k.photos import archives, names
from im21k.photos.photo import Photo

CLASS_TAR = re.compile(rf"({synsets.SYNSET})\.tar")


@dataclasses.dataclass(frozen=True)
class Tar:
  """A tar of photos, or of tars of photos; or one member of such a tar.

  Attributes:
    path, offset, size: the file, and where in it the tar is.
    synset: the class of all its photos; "" where the names of the members say it.
    labels: see `names.locate`.
  """

  path: Path
  offset: int
  size: int
  synset: str = ""
  labels: tuple[str, ...] | None = None

  @property
  def count(self) -> None:
    """Not known: a tar has no table of contents."""
    return None

  def photos(self) -> Iterator[Photo]:
    """The photos in their order; damage becomes a photo with a problem."""
    return self._photos(None)

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for.

    Raises:
      ValueError: the tar is gzipped, so there is no reading in the middle.
    """
    if archives.is_gzip(self.path):
      raise ValueError(
        f"{self.path}: photos of a gzipped tar cannot be taken in another order: "
        "unpack it, or pack it with `im21k pack`"
      )
    return self._photos(self.offset)

  def _photos(self, base: int | None) -> Iterator[Photo]:
    with archives.open_tar(self.path, self.offset, self.size) as file:
      size = None if archives.is_gzip(self.path) else self.size
      reader = archives.Reader(file, str(self.path), size)
      yield from self._members(reader, self.synset, base)

  def _members(
    self, reader: archives.Reader, synset: str, base: int | None
  ) -> Iterator[Photo]:
    """Photos of a reader; with its offset in the file they are not read yet."""
    try:
      for member in reader:
        name = PurePosixPath(member.name)
        key = f"{synset}/{name.name}" if synset else str(name)
        if member.type == tarfile.DIRTYPE:
          continue
        inner = CLASS_TAR.fullmatch(name.name)
        if names.leaves(member.name):
          reason = f"{member.name!r} is absolute or leaves its folder"
          yield Photo(key, synset, problem=("refused path", reason))
        elif not member.regular:
          reason = f"a member of type {member.type!r}"
          yield Photo(key, synset, problem=("link or device", reason))
        elif inner and not synset:
          start = None if base is None else base + member.offset
          yield from self._members(reader.inner(member), inner[1], start)
        elif not name.name.startswith("."):
          yield self._photo(reader, member, synset, base)
    except (archives.DamagedArchive, EOFError, OSError) as error:
      key = f"{synset}.tar" if synset else self.path.name
      yield Photo(key, synset, problem=("damaged archive", str(error)))

  def _photo(
    self,
    reader: archives.Reader,
    member: archives.Member,
    synset: str,
    base: int | None,
  ) -> Photo:
    if synset:
      key = names.within(synset, member.name)
    else:
      synset, key = names.locate(member.name, self.labels)
    if member.size > archives.LARGEST:
      reason = f"a file of {member.size:,} bytes"
      return Photo(key, synset, problem=("too large", reason))
    if base is None:
      return Photo(key, synset, reader.read(member))
    at = base + member.offset
    return Photo(key, synset, functools.partial(_read, self.path, at, member.size))


def _read(path: Path, offset: int, size: int) -> bytes:
  with path.open("rb", buffering=0) as file:
    data = os.pread(file.fileno(), size, offset)
  if len(data) < size:
    raise OSError(f"{path} ends early, at byte {offset + len(data)}")
  return data


def in_folder(folder: Path) -> list[Tar]:
  """The tars of a folder that are named by synsets."""
  paths = sorted(p for p in folder.iterdir() if CLASS_TAR.fullmatch(p.name))
  return [Tar(p, 0, p.stat().st_size, p.stem) for p in paths]


def in_file(path: Path, labels: tuple[str, ...] | None) -> Iterator[Tar]:
  """The inner tars of a tar; where there are none, the tar as a whole."""
  size = path.stat().st_size
  if archives.is_gzip(path):
    yield Tar(path, 0, size, labels=labels)
    return
  # Only headers are read: a large buffer would be filled for each.
  start = 0
  with archives.open_tar(path, 0, size, archives.BLOCK) as file:
    try:
      for member in archives.Reader(file, str(path), size):
        inner = CLASS_TAR.fullmatch(PurePosixPath(member.name).name)
        whole = member.offset + member.size <= size
        if not inner or not member.regular or names.leaves(member.name) or not whole:
          break
        yield Tar(path, member.offset, member.size, inner[1])
        start = member.end
      else:
        return
    except archives.DamagedArchive:
      pass  # Reported when the rest is read.
  # There is something else among them, or nothing else: read all from there on.
  yield Tar(path, start, size - start, labels=labels)


def is_tar(path: Path) -> bool:
  """Whether a file is a tar, gzipped or not."""
  if path.name.endswith((".tar", ".tar.gz", ".tgz")):
    return True
  with path.open("rb") as file:
    head = file.read(265)
  return head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar"

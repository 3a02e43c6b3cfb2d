"""Photos in a tar, gzipped or not, or in a tar of tars; nothing is unpacked."""

import dataclasses
import functools
import itertools
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from im21k.photos import (
  gzips,
  names,
  photo_file,
  tar_headers,
  tar_input,
)
from im21k.photos.archives import Reader
from im21k.photos.photo import Loss, Photo
from im21k.photos.tar_links import Link, Place, by_target
from im21k.photos.tar_members import DAMAGED, Walk
from im21k.photos.tar_parts import Lost, Member

SUFFIXES = ".tar", ".tar.gz", ".tgz"
_MOST_OF_A_CLASS = 10_000  # photos, and more


@dataclasses.dataclass(frozen=True)
class Tar:
  """A tar of photos, or of tars of photos; or one member of such a tar.

  Attributes:
    path, offset, size: the file, and where in it the tar is.
    synset: the class of all its photos; "" where the names of the members say it.
    labels: see `names.locate`.
    is_rest: whether tars of classes come before it in the file.
    own: ids of own classes, see `names.locate`.
  """

  path: Path
  offset: int
  size: int
  synset: str = ""
  labels: tuple[str, ...] | None = None
  is_rest: bool = False
  own: frozenset[str] = frozenset()

  @property
  def count(self) -> None:
    """Not known: a tar has no table of contents."""
    return None

  def photos(self) -> Iterator[Photo]:
    """The photos in their order, links last; damage becomes a photo with a problem."""
    return self._photos(False)

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for.

    Raises:
      ValueError: the tar is gzipped, so there is no reading in the middle.
    """
    if gzips.is_gzip(self.path):
      raise ValueError(
        f"{self.path}: photos of a gzipped tar cannot be taken in another order: "
        "unpack it, or pack it with `im21k pack`"
      )
    return self._photos(True)

  def _photos(self, located: bool) -> Iterator[Photo]:
    before = _state(self.path)
    walk = self._walk(located)
    yield from self._pass(walk)
    if walk.links:
      wanted, outside = by_target(walk.links)
      yield from self._pass(self._walk(located, wanted))
      for link in [*outside, *itertools.chain.from_iterable(wanted.values())]:
        yield link.broken()
    if _state(self.path) != before:
      yield walk.lost(self.offset, 0, "the file changed while it was read")

  def _walk(self, located: bool, wanted: dict[Place, list[Link]] | None = None) -> Walk:
    photo = functools.partial(_photo, self.path, located)
    return Walk(self.path.name, photo, self.labels, self.is_rest, wanted, self.own)

  def _pass(self, walk: Walk) -> Iterator[Photo]:
    """The photos of a pass from the beginning to the end, with what is lost."""
    at, stop = self.offset, self.offset + self.size
    try:
      if gzips.is_gzip(self.path):
        yield from self._unzipped(walk)
        return
      # And what follows, which says whether the end is one.
      beyond = self.size + 2 * tar_input.RECORD
      with tar_input.open_part(self.path, at, beyond) as file:
        data = tar_input.Input(file, at)
        try:
          reader = Reader(data, stop, is_tar=_is_class_tar)
          if self.is_rest:
            reader.continues(0)
          yield from walk.photos(reader, self.synset, self.offset)
        finally:
          at = data.at
    except OSError as error:
      reason = error.strerror or str(error)
      yield from walk.reported(walk.lost(at, max(stop - at, 0), reason))

  def _unzipped(self, walk: Walk) -> Iterator[Photo]:
    with gzips.Gzip(self.path) as zipped:
      data, damages = tar_input.Input(zipped), 0
      while True:
        reader = Reader(data, None, damages > 0, _is_class_tar)
        yield from walk.photos(reader, self.synset)
        if len(zipped.damages) == damages:
          return
        goes_on = zipped.resume()
        yield from walk.reported(walk.lost(*zipped.damages[-1]))
        damages = len(zipped.damages)
        if not goes_on:
          return


def in_file(
  path: Path, labels: tuple[str, ...] | None, own: frozenset[str] = frozenset()
) -> Iterator[Tar]:
  """The inner tars of a tar; where there are none, the tar as a whole."""
  size = path.stat().st_size
  if gzips.is_gzip(path):
    yield Tar(path, 0, size, labels=labels, own=own)
    return
  # Only headers are read: a large buffer would be filled for each.
  start = 0
  with (
    tar_input.open_part(path, 0, size, tar_headers.BLOCK) as file,
    path.open("rb", buffering=0) as ends,
  ):
    reader = Reader(tar_input.Input(file), size)
    for member in reader:
      name = PurePosixPath(getattr(member, "name", ""))
      inner = names.CLASS_TAR.fullmatch(name.name) if name.parts else None
      if (
        isinstance(member, Lost)
        or not inner
        or not member.regular
        or names.is_hidden(name)
        or names.leaves(member.name)
        or names.class_folder(name)
        or reader.head(member, 2) == gzips.MAGIC[:2]
        or not _ends_as_tar(ends.fileno(), member)
      ):
        break
      yield Tar(path, member.offset, member.size, inner[1])
      start = min(member.end, size)
    else:
      return
    # There is something else among them, or damage, or nothing else: all from there is
    # read. Damage at the very beginning may have been the header of the first of them.
    first, _, _ = os.pread(ends.fileno(), tarfile.LENGTH_NAME, 0).partition(b"\0")
    is_rest = start > 0 or (
      isinstance(member, Lost)
      and (_is_class_tar(first.decode("utf-8", "replace")) or _tars_follow(reader))
    )
  yield Tar(path, start, size - start, labels=labels, is_rest=is_rest, own=own)


def is_tar(path: Path) -> bool:
  """Whether a file is a tar, gzipped or not."""
  if path.name.lower().endswith(SUFFIXES):
    return True
  with path.open("rb") as file:
    head = file.read(265)
  return head[:2] == gzips.MAGIC[:2] or head[257:262] == tar_headers.MAGIC


def _photo(
  path: Path, located: bool, reader: Reader, member: Member, key: str, synset: str
) -> Photo:
  """The photo in a member; if `located`, it is read when it is asked for."""
  if member.size > photo_file.LARGEST:
    error = photo_file.too_large(member.size)
    return Photo(key, synset, problem=(error.kind, str(error.strerror)))
  if located:
    read = functools.partial(_read, path, member.offset, member.size)
    return Photo(key, synset, read)
  data = reader.read(member)
  if data is None:
    reason = f"it ends early, for {path.name} does"
    loss = Loss(path.name, reader.at - member.start)
    return Photo(key, synset, problem=(DAMAGED, reason), loss=loss)
  return Photo(key, synset, data)


def _read(path: Path, offset: int, size: int) -> bytes:
  with path.open("rb", buffering=0) as file:
    data = os.pread(file.fileno(), size, offset)
  if len(data) < size:
    raise OSError(f"{path} ends early, at byte {offset + len(data)}")
  return data


def _ends_as_tar(file: int, member: Member) -> bool:
  """Whether a member of an open file ends in zeros; if not, it must be read first."""
  stop = member.offset + member.size
  start = max(stop - tar_headers.BLOCK, member.offset)
  return not os.pread(file, stop - start, start).strip(b"\0")


def _tars_follow(reader: Reader) -> bool:
  """Whether one of the next members is a tar of a class, in no folder of another."""
  return any(
    isinstance(one, Member)
    and one.regular
    and _is_class_tar(one.name)
    and not names.class_folder(PurePosixPath(one.name))
    for one in itertools.islice(reader, _MOST_OF_A_CLASS)
  )


def _is_class_tar(name: str) -> bool:
  return names.CLASS_TAR.fullmatch(PurePosixPath(name).name) is not None


def _state(path: Path) -> tuple[int, int] | None:
  """What changes if a file is written to; None if it is not there."""
  try:
    found = path.stat()
  except OSError:
    return None
  return found.st_size, found.st_mtime_ns

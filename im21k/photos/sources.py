"""Where photos come from: streams of photos, in the order in which they lie."""

import dataclasses
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from im21k import files
from im21k import synsets as ids
from im21k.interop import lists, recordio
from im21k.photos import archives

_SYNSET = re.compile(r"n[0-9]{8}")
_SYNSET_TAR = re.compile(r"(n[0-9]{8})\.tar")


class Entry(NamedTuple):
  """A photo that can be read: its key, its synset, and its file's path."""

  key: str
  synset: str
  path: str


class Photo(NamedTuple):
  """A photo that was read; `problem` is heading and reason if it could not be."""

  key: str
  synset: str
  data: bytes = b""
  problem: tuple[str, str] | None = None


class Stream(Protocol):
  """A part of a source that is read from its beginning to its end."""

  size: int  # bytes, 0 where they are not known

  def photos(self) -> Iterator[Photo]: ...


@dataclasses.dataclass(frozen=True)
class Source:
  """Streams in their natural order; `root` where each photo is a file below it."""

  streams: tuple[Any, ...]
  root: Path | None = None

  def entries(self) -> Iterator[Entry]:
    """The list of photos, none read; only with `root`."""
    for stream in self.streams:
      yield from stream.entries()

  def measured(self) -> "Source":
    """The same with the bytes of each stream of loose files; they are looked up."""
    if not self.root:
      return self
    sized = (
      dataclasses.replace(stream, size=sum(_size(e.path) for e in stream.entries()))
      for stream in self.streams
    )
    return Source(tuple(sized), self.root)


def find(
  path: Path,
  synsets: tuple[str, ...],
  root: Path | None = None,
  labels: Path | None = None,
  split: str = "train",
) -> Source:
  """What lies at `path`, by its content.

  Args:
    path: a folder of synset folders or of nXXXXXXXX.tar, or of a prepared TFDS data
      set; a tar (gzipped or not) of such tars or of photos; a .rec, .lst or .tsv.
    synsets: the class list, which the numbers of .rec and .lst index.
    root: folder that the paths of a .lst or .tsv lie below; by default its own.
    labels: text file with the synset of every photo in turn of a flat tar whose names
      do not tell it; by default that of ILSVRC2012's validation photos.
    split: of a TFDS data set.

  Raises:
    NotADirectoryError, ValueError: it is none of them.
  """
  if path.is_dir():
    if (path / "dataset_info.json").is_file():
      return Source((Tfds(path, split),))
    tars = sorted(p for p in path.iterdir() if _SYNSET_TAR.fullmatch(p.name))
    if tars:
      return Source(tuple(Tar(p, 0, p.stat().st_size, p.stem) for p in tars))
    return Source(tuple(Folder(path, name) for name in _synset_folders(path)), path)
  if path.suffix in (".lst", ".tsv") and path.is_file():
    root = root or path.parent
    return Source((Listed(path, root, synsets),), root)
  if path.suffix == ".rec" and path.is_file():
    return Source((Rec(path, path.stat().st_size, synsets),))
  if path.is_file() and (path.name.endswith((".tar.gz", ".tgz")) or _is_tar(path)):
    return Source(tuple(_tar_streams(path, labels)))
  raise NotADirectoryError(
    f"{path} is no folder, tar, .rec, .lst or .tsv; photos of a folder should lie in "
    "synset folders such as n01440764/"
  )


def synset_folders(root: Path) -> Iterator[Entry]:
  """The files below `root/nXXXXXXXX/`, names beginning with a dot left out.

  Raises:
    NotADirectoryError, ValueError: `root` is no folder, holds no synset folder, or
      holds a folder whose name is no synset id.
  """
  for name in _synset_folders(root):
    yield from Folder(root, name).entries()


@dataclasses.dataclass(frozen=True)
class Folder:
  """One synset folder."""

  root: Path
  synset: str
  size: int = 0

  def entries(self) -> Iterator[Entry]:
    root = os.path.join(self.root, "")
    for key in _files(root, self.synset):
      yield Entry(key, self.synset, root + key)

  def photos(self) -> Iterator[Photo]:
    return map(_read, self.entries())


@dataclasses.dataclass(frozen=True)
class Listed:
  """MXNet's .lst, or a TSV of `path<TAB>synset`, and the files below `root`."""

  path: Path
  root: Path
  synsets: tuple[str, ...]
  size: int = 0

  def entries(self) -> Iterator[Entry]:
    for name, synset in self._lines():
      if _leaves(name):
        raise ValueError(f"{self.path}: path {name!r} is absolute or leaves its folder")
      yield Entry(name, synset, os.path.join(self.root, name))

  def photos(self) -> Iterator[Photo]:
    return map(_read, self.entries())

  def _lines(self) -> Iterator[tuple[str, str]]:
    if self.path.suffix == ".lst":
      for entry in lists.read(self.path):
        yield entry.path, _by_number(entry.labels, self.synsets, str(self.path))
      return
    with self.path.open(encoding="utf-8", errors="surrogateescape") as file:
      for number, line in enumerate(file, 1):
        name, tab, synset = line.rstrip("\n").rpartition("\t")
        if not tab or not _SYNSET.fullmatch(synset):
          raise ValueError(f"{self.path} line {number}: not path, tab and synset")
        yield name, synset


@dataclasses.dataclass(frozen=True)
class Rec:
  """MXNet's .rec; the photos' numbers are their keys."""

  path: Path
  size: int
  synsets: tuple[str, ...]

  def photos(self) -> Iterator[Photo]:
    records = recordio.read(self.path)
    while True:
      try:
        _, data = next(records)
      except StopIteration:
        return
      except ValueError as error:
        yield Photo(self.path.name, "", problem=("damaged archive", str(error)))
        return
      record = recordio.unpack(data)
      synset = _by_number(record.labels, self.synsets, str(self.path))
      yield Photo(f"{synset}/{record.id}", synset, record.image)


@dataclasses.dataclass(frozen=True)
class Tfds:
  """A prepared TFDS data set in ArrayRecord files, its photos not decoded."""

  path: Path
  split: str
  size: int = 0

  def photos(self) -> Iterator[Photo]:
    import tensorflow_datasets as tfds  # slow to import, and rarely used

    builder = tfds.builder_from_directory(self.path)
    names = builder.info.features["label"]
    decoders = {"image": tfds.decode.SkipDecoding()}
    photos = builder.as_data_source(split=self.split, decoders=decoders)
    for index in range(len(photos)):
      example = photos[index]
      synset = names.int2str(int(example["label"]))
      name = example.get("file_name", f"{self.split}-{index}")
      name = name.decode("utf-8") if isinstance(name, bytes) else name
      yield Photo(f"{synset}/{name}", synset, bytes(example["image"]))


@dataclasses.dataclass(frozen=True)
class Tar:
  """A tar of photos, or of tars of photos; or one member of such a tar.

  Attributes:
    path, offset, size: the file, and where in it the tar lies.
    synset: of all its photos; empty where the names of the members tell it.
    labels: synsets of the photos in the order of their names' numbers, else.
  """

  path: Path
  offset: int
  size: int
  synset: str = ""
  labels: tuple[str, ...] = ()

  def photos(self) -> Iterator[Photo]:
    with archives.open_tar(self.path, self.offset, self.size) as file:
      name = str(self.path)
      zipped = isinstance(file, archives.gzip.GzipFile)
      reader = archives.Reader(file, name, None if zipped else self.size)
      yield from self._members(reader, self.synset)

  def _members(self, reader: archives.Reader, synset: str) -> Iterator[Photo]:
    try:
      for member in reader:
        name = PurePosixPath(member.name)
        key = f"{synset}/{name.name}" if synset else str(name)
        if member.type == tarfile.DIRTYPE:
          continue
        inner = _SYNSET_TAR.fullmatch(name.name)
        if _leaves(member.name):
          reason = f"{member.name!r} is absolute or leaves its folder"
          yield Photo(key, synset, problem=("refused path", reason))
        elif not member.regular:
          reason = f"a member of type {member.type!r}"
          yield Photo(key, synset, problem=("link or device", reason))
        elif inner and not synset:
          yield from self._members(reader.inner(member), inner[1])
        elif not name.name.startswith("."):
          yield self._photo(reader, member, name, synset)
    except (archives.DamagedArchive, EOFError, OSError) as error:
      key = f"{synset}.tar" if synset else self.path.name
      yield Photo(key, synset, problem=("damaged archive", str(error)))

  def _photo(
    self,
    reader: archives.Reader,
    member: archives.Member,
    name: PurePosixPath,
    synset: str,
  ) -> Photo:
    found = [part[:9] for part in reversed(name.parts) if _SYNSET.match(part)]
    number = re.search(r"([0-9]{8})\.\w+$", name.name)
    if not synset and self.labels and number:
      at = int(number[1])
      synset = self.labels[at - 1] if 1 <= at <= len(self.labels) else ""
    synset = synset or (found[0] if found else "")
    key = f"{synset}/{name.name}"
    if not synset:
      return Photo(str(name), "", problem=("unreadable", "nothing tells its synset"))
    if member.size > archives.LARGEST:
      reason = f"a file of {member.size:,} bytes"
      return Photo(key, synset, problem=("too large", reason))
    return Photo(key, synset, reader.read(member))


def _tar_streams(path: Path, labels: Path | None) -> Iterator[Tar]:
  """The inner tars of a tar; where there are none, the tar as a whole."""
  size = path.stat().st_size
  if archives.is_gzip(path):
    yield Tar(path, 0, size, labels=_labels(path, labels))
    return
  # Of headers only: a large buffer would be filled for each.
  with archives.open_tar(path, 0, size, archives.BLOCK) as file:
    for member in (reader := archives.Reader(file, str(path), size)):
      inner = _SYNSET_TAR.fullmatch(PurePosixPath(member.name).name)
      whole = member.offset + member.size <= size
      if not inner or not member.regular or _leaves(member.name) or not whole:
        break
      yield Tar(path, member.offset, member.size, inner[1])
    else:
      return
    # Something else lies among them, or nothing else: read all from there on.
    start = reader.at - archives.BLOCK
    yield Tar(path, start, size - start, labels=_labels(path, labels))


def _labels(path: Path, labels: Path | None) -> tuple[str, ...]:
  if labels is None and "val" not in path.name:
    return ()
  return tuple(ids.validation_labels(labels))


def _is_tar(path: Path) -> bool:
  with path.open("rb") as file:
    head = file.read(265)
  return head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar" or path.suffix == ".tar"


def _by_number(labels: tuple[float, ...], synsets: tuple[str, ...], where: str) -> str:
  index = int(labels[0])
  if index != labels[0] or not 0 <= index < len(synsets):
    raise ValueError(f"{where}: label {labels[0]} is none of {len(synsets):,} classes")
  return synsets[index]


def _read(entry: Entry) -> Photo:
  try:
    return Photo(entry.key, entry.synset, files.read(entry.path))
  except OSError as error:
    problem = ("unreadable", error.strerror or str(error))
    return Photo(entry.key, entry.synset, problem=problem)


def _size(path: str) -> int:
  try:
    return os.stat(path).st_size
  except OSError:
    return 0  # It is told when it is to be read.


def _leaves(name: str) -> bool:
  path = PurePosixPath(name)
  return path.is_absolute() or ".." in path.parts or "\0" in name


def _synset_folders(root: Path) -> list[str]:
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
  return folders


def _files(root: str, folder: str) -> Iterator[str]:
  """Paths below `root` of the files in one of its folders, `root` left out."""
  entries = sorted((e.name, e) for e in os.scandir(root + folder) if _visible(e))
  for name, entry in entries:
    path = f"{folder}/{name}"
    if entry.is_dir(follow_symlinks=False):
      yield from _files(root, path)
    else:
      yield path


def _visible(entry: os.DirEntry) -> bool:
  return not entry.name.startswith(".")


def _some(names: list[str]) -> str:
  shown = ", ".join(repr(name) for name in names[:3])
  verb = "is a folder" if len(names) == 1 else "are folders"
  return f"{shown}{' …' if len(names) > 3 else ''} {verb}"

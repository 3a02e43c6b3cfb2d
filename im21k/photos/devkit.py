"""ILSVRC2012's development kit -> the synsets of the validation photos.

In: `ILSVRC2012_devkit_t12.tar.gz` as downloaded, or unpacked. It holds
`data/ILSVRC2012_validation_ground_truth.txt`, an id a line in the order of the photos'
names, and `data/meta.mat`, whose `synsets` has 1,860 rows: 1,000 classes with the ids 1
to 1000, no children among the rows, and the 860 synsets above them. Out: the synset of
photo n at position n - 1. Nothing is unpacked to disk.
"""

import functools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from im21k import synsets, words
from im21k.photos import gzips, matlab, tar_input
from im21k.photos.archives import Reader
from im21k.photos.tar_parts import Lost

NAME = "ILSVRC2012_devkit_t12.tar.gz"
_NAMES = NAME, "ILSVRC2012_devkit_t12.tgz", "ILSVRC2012_devkit_t12.tar"
_FOLDER = "ILSVRC2012_devkit_t12"
TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
# Bytes; the real ones have 0.2 and 1 MB, and all of the kit 3 MB.
_MOST = {TRUTH: 4 << 20, META: 16 << 20}
_MOST_CONTENT = 256 << 20
_FIELDS = "ILSVRC2012_ID", "WNID", "num_children"


def beside(folder: Path) -> Path | None:
  """The development kit in a folder, as downloaded or unpacked; None: there is none."""
  for name in _NAMES:
    if (folder / name).is_file():
      return folder / name
  unpacked = folder / _FOLDER
  return unpacked if (unpacked / "data" / META).is_file() else None


def labels(kit: Path) -> tuple[str, ...]:
  """The synset of each validation photo, in the order of their names.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged, or is no such kit; says which file of it is wrong.
  """
  status = kit.stat()
  return _labels(kit, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _labels(kit: Path, size: int, time: int) -> tuple[str, ...]:
  found = _unpacked(kit) if kit.is_dir() else _in_archive(kit)
  for name in (TRUTH, META):
    if name not in found:
      raise ValueError(
        f"{kit} has no data/{name}: it should be ILSVRC2012's development kit for "
        f"tasks 1 and 2, {NAME} of image-net.org; get it again"
      )
  try:
    of_id = _synsets(found[META])
  except ValueError as error:
    raise ValueError(f"{kit}: {META}: {error}; get the kit again") from None
  return tuple(_of_lines(found[TRUTH], of_id, f"{kit}: {TRUTH}"))


def _synsets(data: bytes) -> dict[int, str]:
  """The synset of each class by its id in `meta.mat`."""
  of_id: dict[int, str] = {}
  for number, (one, synset, children) in enumerate(
    matlab.struct_rows(data, "synsets", _FIELDS), 1
  ):
    if not (isinstance(one, int) and isinstance(synset, str) and children is not None):
      raise ValueError(f"row {number:,} has no id, synset or number of children")
    if not synsets.is_synset(synset):
      raise ValueError(f"row {number:,}: {synset[:40]!r} is no synset id")
    if children:
      continue  # A synset above the classes.
    if one in of_id:
      raise ValueError(f"id {one} is that of {of_id[one]} and {synset}")
    of_id[one] = synset
  if len(set(of_id.values())) != len(of_id):
    raise ValueError("two ids have the same synset")
  return of_id


def _of_lines(data: bytes, of_id: dict[int, str], where: str) -> Iterator[str]:
  lines = data.split(b"\n")
  while lines and not lines[-1].strip():
    lines.pop()
  for number, line in enumerate(lines, 1):
    word = line.strip()
    one = int(word) if len(word) < 10 and word.isdigit() else 0
    if one not in of_id:
      shown = ascii(word[:40].decode("latin-1"))
      raise ValueError(
        f"{where} line {number:,} is {shown}, which is the id of none of the "
        f"{words.counted(len(of_id), 'class')} in {META}; get the kit again"
      )
    yield of_id[one]


def _unpacked(kit: Path) -> dict[str, bytes]:
  found = {}
  for name, most in _MOST.items():
    path = kit / "data" / name
    if not path.is_file():
      continue
    with path.open("rb") as file:
      data = file.read(most + 1)
    _check_size(path, len(data), most)
    found[name] = data
  return found


def _in_archive(kit: Path) -> dict[str, bytes]:
  """The two files; what is behind them counts for the checksum of a gzipped kit."""
  found: dict[str, bytes] = {}
  with gzips.Gzip(kit) if gzips.is_gzip(kit) else kit.open("rb") as file:
    reader = Reader(tar_input.Input(file))
    for member in reader:
      if isinstance(member, Lost):
        raise ValueError(f"{kit} is damaged: {member.reason}; get it again")
      if member.end > _MOST_CONTENT:
        raise ValueError(
          f"{kit} holds more than {_MOST_CONTENT >> 20} MiB: it is not {NAME}"
        )
      path = PurePosixPath(member.name)
      if path.parts[-2:-1] != ("data",) or path.name not in _MOST:
        continue
      if not member.regular or path.name in found:
        raise ValueError(f"{kit}: {path.name} is there twice, or no file; get it again")
      _check_size(f"{kit}: {path.name}", member.size, _MOST[path.name])
      data = reader.read(member)
      if data is None:
        raise ValueError(f"{kit} is damaged: it ends within {path.name}; get it again")
      found[path.name] = data
      if len(found) == len(_MOST):
        break
    left = _MOST_CONTENT if isinstance(file, gzips.Gzip) else 0
    while left > 0 and (data := file.read(1 << 20)):
      left -= len(data)
    if isinstance(file, gzips.Gzip) and file.damages:
      raise ValueError(f"{kit} is damaged: {file.damages[0].reason}; get it again")
  return found


def _check_size(where: object, size: int, most: int) -> None:
  if size > most:
    raise ValueError(f"{where} has more than {most >> 20} MiB: it is no kit's")

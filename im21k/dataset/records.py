"""The packed data set on disk: bytes of a record, names of shards, the manifest.

A record is a 12-byte header (`im21`, version, length of the key, label), the key in
UTF-8, and the photo's JPEG bytes as they were. Packer and loader share this module
and nothing else knows the layout.
"""

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import xxhash

from im21k import files
from im21k.synsets import ClassList
from im21k.synsets import from_file as classes_from_file

FORMAT_VERSION = 1
# One record a chunk, so that a record can be read without its neighbours; JPEG does
# not compress any further.
WRITER_OPTIONS = "group_size:1,uncompressed"
MANIFEST = "manifest.json"
CLASSES = "classes.txt"
_HEADER = struct.Struct("<4sBxHI")
_MAGIC = b"im21"


@dataclasses.dataclass(frozen=True)
class Example:
  """One photo.

  Attributes:
    key: leads back to the photo: its path below the source folder.
    label: position of its class in the class list.
    jpeg: the file's bytes.
  """

  key: str
  label: int
  jpeg: bytes


def encode(example: Example) -> bytes:
  """The record's bytes."""
  key = example.key.encode("utf-8", "surrogateescape")
  return head(key, example.label) + example.jpeg


def head(key: bytes, label: int) -> bytes:
  """All of a record that goes before its JPEG."""
  if len(key) > 0xFFFF:
    raise ValueError(f"key of {len(key)} bytes, but 65,535 is the most: {key[:80]!r}…")
  return _HEADER.pack(_MAGIC, FORMAT_VERSION, len(key), label) + key


def decode(record: bytes) -> Example:
  """The inverse of `encode`; ValueError says what is wrong with the bytes."""
  start = jpeg_start(record)
  _, _, _, label = _HEADER.unpack_from(record)
  key = record[_HEADER.size : start].decode("utf-8", "surrogateescape")
  return Example(key, label, record[start:])


def jpeg_start(record: bytes) -> int:
  """Where a record's JPEG begins; ValueError says what is wrong with the bytes."""
  if len(record) < _HEADER.size or record[:4] != _MAGIC:
    raise ValueError(f"not a record of im21k: it begins with {record[:12]!r}")
  _, version, key_length, _ = _HEADER.unpack_from(record)
  if version != FORMAT_VERSION:
    raise ValueError(
      f"record of format version {version}, but this im21k reads {FORMAT_VERSION}"
    )
  start = _HEADER.size + key_length
  if len(record) < start:
    raise ValueError(f"record of {len(record)} bytes ends inside its key")
  return start


def shard_name(split: str, index: int, count: int) -> str:
  """`train-00000-of-00016.array_record`."""
  return f"{split}-{index:05d}-of-{count:05d}.array_record"


class Checksum:
  """XXH3 (128 bits) over the records of a shard in turn.

  In place of each JPEG goes its own XXH3: the packer knows that already.
  """

  def __init__(self) -> None:
    self._hash = xxhash.xxh3_128()

  def add(self, head: bytes | memoryview, jpeg_digest: bytes) -> None:
    """Takes in what goes before a record's JPEG, and the JPEG's `digest`."""
    self._hash.update(head)
    self._hash.update(jpeg_digest)

  def add_record(self, record: bytes) -> None:
    """Takes in a record; ValueError if it is none."""
    view, start = memoryview(record), jpeg_start(record)
    self.add(view[:start], digest(view[start:]))

  def hexdigest(self) -> str:
    return self._hash.hexdigest()


# Of a photo's bytes: not for secrets, but ten times as fast as SHA-256.
digest = xxhash.xxh3_128_digest


@dataclasses.dataclass(frozen=True)
class Shard:
  """One file: its name, records, bytes and `Checksum`."""

  name: str
  count: int
  bytes: int
  xxh3_128: str


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What a packed data set holds; `manifest.json` beside its shards.

  Attributes:
    class_list, class_list_hash: name and hash of the list that labels index; the list
      itself lies beside, in `classes.txt`.
    seed: of the shuffle.
    options: how `pack` was called, as far as it decides the bytes.
    splits: shards of `train` and, if photos were held out, of `eval`.
    rejected: how many photos `rejected.tsv` lists.
  """

  class_list: str
  class_list_hash: str
  seed: int
  options: dict[str, Any]
  splits: dict[str, tuple[Shard, ...]]
  rejected: int

  def count(self, split: str) -> int:
    """Photos in a split."""
    return sum(shard.count for shard in self.splits[split])

  def save(self, folder: Path, aside: Path | None = None) -> None:
    """Writes `manifest.json`, whole, as the last file of a data set."""
    splits = {
      split: {
        "count": self.count(split),
        "bytes": sum(shard.bytes for shard in shards),
        "shards": [dataclasses.asdict(shard) for shard in shards],
      }
      for split, shards in self.splits.items()
    }
    document = {"format_version": FORMAT_VERSION, **vars(self), "splits": splits}
    text = json.dumps(document, indent=1) + "\n"
    files.write_text(folder / MANIFEST, text, aside)

  @classmethod
  def load(cls, folder: Path) -> "Manifest":
    """Reads `manifest.json`.

    Raises:
      FileNotFoundError: there is none: nothing was packed there, or not to the end.
      ValueError: it is not a manifest, or of another format version.
    """
    path = folder / MANIFEST
    if not path.is_file():
      raise FileNotFoundError(
        f"{path} does not exist: {folder} holds no packed photos (im21k pack makes "
        "them; it writes the manifest last)"
      )
    try:
      document = json.loads(path.read_text(encoding="utf-8"))
      version = document.pop("format_version")
      if version != FORMAT_VERSION:
        raise ValueError(f"format version {version}, not {FORMAT_VERSION}")
      splits = {
        split: tuple(Shard(**shard) for shard in content["shards"])
        for split, content in document.pop("splits").items()
      }
      for shard in (shard for shards in splits.values() for shard in shards):
        if Path(shard.name).name != shard.name:
          raise ValueError(f"shard name {shard.name!r} leaves the folder")
      return cls(splits=splits, **document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f"{path} is no manifest that this im21k can read: {error}"
      ) from error

  def classes(self, folder: Path) -> ClassList:
    """The class list that the labels index, checked against its hash."""
    classes = dataclasses.replace(
      classes_from_file(folder / CLASSES), name=self.class_list
    )
    classes.check_same(self.class_list, self.class_list_hash, str(folder / MANIFEST))
    return classes

  def shard_paths(self, folder: Path, split: str) -> list[str]:
    """Paths of a split's shards, after a look at their sizes.

    Raises:
      ValueError: there is no such split, or a shard is missing or was cut short.
    """
    if split not in self.splits:
      raise ValueError(
        f"{folder} has no {split!r} photos, only {', '.join(self.splits)}"
        " (im21k pack --eval-fraction or --eval-per-class holds some out)"
      )
    paths = []
    for shard in self.splits[split]:
      path = folder / shard.name
      size = path.stat().st_size if path.is_file() else None
      if size != shard.bytes:
        found = "is missing" if size is None else f"has {size:,} bytes"
        raise ValueError(
          f"shard {path} {found}, but its manifest says {shard.bytes:,} bytes: "
          "copy it again, or pack again"
        )
      paths.append(str(path))
    return paths

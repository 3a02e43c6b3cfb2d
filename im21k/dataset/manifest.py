"""The manifest of a packed data set: its shards by split, class list and options.

`pack` writes `manifest.json` as its last file, so a folder with a manifest is complete.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from im21k import documents, files
from im21k.dataset import records, source_rows
from im21k.dataset.records import FORMAT_VERSION
from im21k.fields import Fields
from im21k.synsets import ClassList
from im21k.synsets import from_file as classes_from_file

MANIFEST, CLASSES = "manifest.json", "classes.txt"
SPLITS = "train", "eval"
_LONGEST = 255  # characters of a name
REMEDY = "copy it again, or pack again"


@dataclasses.dataclass(frozen=True)
class Shard:
  """A shard: file name, number of records, bytes, and a checksum in hex.

  The checksum is a `records.Checksum`. That of early versions, which is read too, is an
  XXH3 of the records, or an XXH3 or the SHA-256 (of 64 digits) of the file.
  """

  name: str
  count: int
  bytes: int
  xxh3_128: str


@dataclasses.dataclass(frozen=True)
class Manifest:
  """The content of a packed data set; `manifest.json` in the folder of its shards.

  Attributes:
    class_list, class_list_hash: name and hash of the class list that labels index; the
      list itself is `classes.txt` in the same folder.
    seed: seed of the shuffle.
    options: the options of `pack` that decide the bytes (`PackOptions.recorded`).
    splits: shards of `train` and, if photos were held out, of `eval`.
    rejected: number of photos in `rejected.tsv`.
    sources: of several sources, or of one for each split: what each has brought.
  """

  class_list: str
  class_list_hash: str
  seed: int
  options: dict[str, Any]
  splits: dict[str, tuple[Shard, ...]]
  rejected: int
  sources: tuple[source_rows.SourceOf, ...] = ()

  @property
  def digest(self) -> str:
    """Which photos these are: changes with any record, its split or its label."""
    splits = {
      split: [[shard.count, shard.bytes, shard.xxh3_128] for shard in shards]
      for split, shards in sorted(self.splits.items())
    }
    text = json.dumps([self.class_list_hash, splits])
    return hashlib.sha256(text.encode()).hexdigest()[:16]

  def count(self, split: str) -> int:
    """Number of photos in a split."""
    return sum(shard.count for shard in self.splits[split])

  def save(self, folder: Path, aside: Path | None = None) -> None:
    """Writes `manifest.json` atomically, through a temporary file in `aside`."""
    splits = {
      split: {
        "count": self.count(split),
        "bytes": sum(shard.bytes for shard in shards),
        "shards": [dataclasses.asdict(shard) for shard in shards],
      }
      for split, shards in self.splits.items()
    }
    document = {"format_version": FORMAT_VERSION, **vars(self), "splits": splits}
    del document["sources"]
    if self.sources:
      document["sources"] = [dataclasses.asdict(source) for source in self.sources]
    text = json.dumps(document, indent=1) + "\n"
    files.write_text(folder / MANIFEST, text, aside)

  @classmethod
  def load(cls, folder: Path) -> "Manifest":
    """Reads `manifest.json`.

    Raises:
      FileNotFoundError: there is none, since nothing was packed there completely.
      ValueError: it is not a manifest, or has another format version.
    """
    path = folder / MANIFEST
    if not path.exists():
      raise FileNotFoundError(
        f"{path} does not exist: {folder} holds no packed photos (im21k pack writes "
        "them, and the manifest last)"
      )
    fields = Fields(documents.read(path, REMEDY), path, REMEDY)
    fields.version(FORMAT_VERSION)
    class_list_hash = _short(fields, "class_list_hash")
    if not class_list_hash.isprintable():
      raise fields.error("class_list_hash", f"is {class_list_hash!r}")
    manifest = cls(
      class_list=_short(fields, "class_list"),
      class_list_hash=class_list_hash,
      seed=fields.integer("seed"),
      options=fields.object("options").document,
      splits={name: _shards(split) for name, split in fields.object("splits").parts()},
      rejected=fields.integer("rejected", at_least=0),
      sources=source_rows.read(fields, SPLITS),
    )
    fields.done()
    total = sum(map(manifest.count, manifest.splits))
    if manifest.sources and sum(one.packed for one in manifest.sources) != total:
      raise fields.error("sources", f"do not sum to the {total:,} photos of the splits")
    places: dict[str, str] = {}
    for split, shards in manifest.splits.items():
      if split not in SPLITS:
        raise fields.error("splits", f"has {split[:80]!r}, not only train and eval")
      for shard in shards:
        if before := places.get(shard.name):
          raise fields.error(
            f"splits.{split}", f"has {shard.name}, which is already in {before}"
          )
        places[shard.name] = split
    return manifest

  def classes(self, folder: Path) -> ClassList:
    """The class list that the labels index.

    Raises:
      ClassListMismatch: `classes.txt` does not have the hash in the manifest.
    """
    classes = dataclasses.replace(
      classes_from_file(folder / CLASSES), name=self.class_list
    )
    classes.check_same(self.class_list, self.class_list_hash, str(folder / MANIFEST))
    return classes

  def shard_paths(self, folder: Path, split: str) -> list[str]:
    """Paths of a split's shards, whose sizes are checked.

    Raises:
      ValueError: there is no such split, or a shard is missing or has another size.
    """
    if split not in self.splits:
      remedy = "--eval-fraction or --eval-per-class holds some out, --eval adds some"
      if split == "train":
        remedy = "it packs photos to train on, unless --eval-fraction is 1"
      raise ValueError(
        f"{folder} has no {split!r} photos, only {', '.join(self.splits)} "
        f"(im21k pack: {remedy})"
      )
    paths = []
    for shard in self.splits[split]:
      path = folder / shard.name
      size = path.stat().st_size if path.is_file() else None
      if size != shard.bytes:
        actual = "is missing" if size is None else f"has {size:,} bytes"
        raise ValueError(
          f"shard {path} {actual}, but its manifest says {shard.bytes:,} bytes: "
          f"{REMEDY}"
        )
      paths.append(str(path))
    return paths

  def check_files(self, folder: Path) -> None:
    """Raises ValueError unless each shard is a file of its own and of its size."""
    places: dict[tuple[int, int], str] = {}
    for split in self.splits:
      for path in self.shard_paths(folder, split):
        status = os.stat(path)
        place = status.st_dev, status.st_ino
        if before := places.get(place):
          raise ValueError(f"shard {path} is the same file as {before}: {REMEDY}")
        places[place] = path


def check_count(path: str, count: int, stated: int) -> None:
  """Raises ValueError unless a shard has as many records as its manifest states."""
  if count != stated:
    raise ValueError(
      f"shard {path} has {count:,} records, but its manifest says {stated:,}: {REMEDY}"
    )


def _short(fields: Fields, name: str) -> str:
  """A text that messages can show."""
  text = fields.text(name)
  if len(text) > _LONGEST:
    raise fields.error(name, f"has {len(text):,} characters, more than {_LONGEST}")
  return text


def _shards(split: Fields) -> tuple[Shard, ...]:
  """The shards of a split, whose sums must be those that it states."""
  shards = tuple(map(_shard, split.objects("shards")))
  for name in ("count", "bytes"):
    total = sum(getattr(shard, name) for shard in shards)
    if (stated := split.integer(name)) != total:
      raise split.error(name, f"is {stated:,}, but its shards have {total:,}")
  split.done()
  return shards


def _shard(fields: Fields) -> Shard:
  name = _short(fields, "name")
  if not name.isprintable() or name in ("", ".", "..") or set(name) & {"/", "\\"}:
    raise fields.error("name", f"is {name[:80]!r}, but must be a file in this folder")
  size = fields.integer("bytes", at_least=0)
  # No memory is taken for more photos than the file can have.
  most = size // records.SMALLEST
  shard = Shard(
    name,
    fields.integer("count", at_least=0, at_most=most),
    size,
    fields.text("sha256" if "sha256" in fields else "xxh3_128"),
  )
  fields.done()
  return shard

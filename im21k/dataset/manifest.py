"""The manifest of a packed data set: its shards by split, class list and options.

`pack` writes `manifest.json` as its last file, so a folder with a manifest is complete.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from im21k import files
from im21k.dataset.records import FORMAT_VERSION
from im21k.synsets import ClassList
from im21k.synsets import from_file as classes_from_file

MANIFEST, CLASSES = "manifest.json", "classes.txt"


@dataclasses.dataclass(frozen=True)
class Shard:
  """A shard: file name, number of records, bytes, and hex `records.Checksum`."""

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
  """

  class_list: str
  class_list_hash: str
  seed: int
  options: dict[str, Any]
  splits: dict[str, tuple[Shard, ...]]
  rejected: int

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
    if not path.is_file():
      raise FileNotFoundError(
        f"{path} does not exist: {folder} holds no packed photos (im21k pack writes "
        "them, and the manifest last)"
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
        f"{path} is not a manifest that this im21k can read: {error}"
      ) from error

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
      raise ValueError(
        f"{folder} has no {split!r} photos, only {', '.join(self.splits)}"
        " (im21k pack --eval-fraction or --eval-per-class holds some out)"
      )
    paths = []
    for shard in self.splits[split]:
      path = folder / shard.name
      size = path.stat().st_size if path.is_file() else None
      if size != shard.bytes:
        actual = "is missing" if size is None else f"has {size:,} bytes"
        raise ValueError(
          f"shard {path} {actual}, but its manifest says {shard.bytes:,} bytes: "
          "copy it again, or pack again"
        )
      paths.append(str(path))
    return paths

"""The options of `pack`: each said once, with type, default, text and bounds."""

# ruff: noqa: RUF009 (`_option` returns a field)

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Literal

from im21k import machine
from im21k.packing.option_checks import check_choices, check_memory, nearest


def _option(default: Any, text: str, at_least: float | None = None) -> Any:
  """A field with the text that `im21k pack --help` shows, and its least value."""
  return dataclasses.field(
    default=default, metadata={"help": text, "at_least": at_least}
  )


@dataclasses.dataclass(frozen=True)
class PackOptions:
  """How photos are packed; a ValueError names an option that is out of range."""

  classes: str | None = _option(
    None,
    "Class list: a known name such as imagenet21k or ilsvrc2012; folders (the names of "
    "the class folders); or a text file of ids or a CSV with header id,name,under; by "
    "default folders where none is named by a synset id, and else imagenet21k.",
  )
  eval: Path | None = _option(
    None,
    "Photos to evaluate on, from any source: all of them become the eval split, and "
    "all others are trained on.",
  )
  root: Path | None = _option(
    None,
    "Folder that the paths in a .lst or TSV are relative to; by default the folder of "
    "the list.",
  )
  labels: Path | None = _option(
    None,
    "Text file with the synset id of photo n in line n, for numbered photos in one "
    "folder or tar; by default that of ILSVRC2012's validation photos.",
  )
  source_split: str | None = _option(
    None,
    "Split of packed photos or of a prepared TFDS data set to read; by default all of "
    "packed photos, and train of a TFDS data set.",
  )
  shards: int | None = _option(
    None,
    "Number of train shards; by default one for every 8,192 photos, and at least 16.",
    at_least=1,
  )
  seed: int = _option(0, "Seed of the shuffle, and of which photos are held out.")
  eval_fraction: float = _option(
    0.0,
    "Hold out this share of every class, rounded to whole photos; 1 makes a set for "
    "evaluation alone.",
  )
  eval_per_class: int = _option(
    0, "Hold out this many photos of every class.", at_least=0
  )
  eval_min_class_size: int | None = _option(
    None,
    "With --eval-per-class, hold out photos only of classes with at least this many; "
    "by default twice as many as are held out.",
    at_least=1,
  )
  eval_keys: Path | None = _option(
    None, "Hold out the photos whose keys this text file lists, one a line."
  )
  exclude_hashes: Path | None = _option(
    None,
    "Leave out the photos whose SHA-256 this text file lists, in the format of "
    "sha256sum.",
  )
  remap: Path | None = _option(
    None,
    "TSV file of synsets and their replacements; photos of a synset with the "
    "replacement - are left out.",
  )
  unlisted: Literal["error", "skip"] = _option(
    "error", "Whether photos of a class outside the class list are an error or skipped."
  )
  duplicates: Literal["keep", "drop", "multi-label"] = _option(
    "keep",
    "Whether to keep photos with equal bytes, or to drop all but the first; "
    "multi-label drops them too and lists all their synsets in labels.tsv.",
  )
  resize: int | None = _option(
    None, "Downscale photos whose short side exceeds this many pixels.", at_least=1
  )
  quality: int = _option(
    90, "JPEG quality of downscaled photos, 1 to 100, with 4:2:0 subsampling."
  )
  check: Literal["decode", "header"] = _option(
    "decode",
    "decode reads the coded pixels of every photo once; header costs a hundredth of "
    "that, and misses damage inside a photo.",
  )
  allow_damaged_archives: bool = _option(
    False,
    "Take it for a success if bytes of an archive cannot be read; by default the exit "
    "status is then 1, though all that can be read is packed.",
  )
  shuffle: Literal["auto", "direct", "external"] = _option(
    "auto",
    "direct reads each photo when its shard is written (for SSDs); external reads and "
    "writes in sequence through scratch files (for hard disks); auto is direct where "
    "each photo is a file of its own.",
  )
  memory: float | None = _option(
    None,
    "GB of photos that each worker holds at once in the external shuffle; by default "
    "1.9 MB for each shard (3.4 GB for ImageNet), which keeps a hard disk's seeks "
    "below a fifth of its time, but at most half of the machine's memory.",
  )
  part: str | None = _option(
    None, "i/n: do the i-th of n parts of the work, on a disk that all machines share."
  )
  runner: Literal["local", "beam"] = _option(
    "local",
    "Run in local processes, or as an Apache Beam pipeline on a disk that all its "
    "workers share.",
  )
  beam_options: str | None = _option(
    None,
    "With --runner beam, options as Beam spells them, in quotes, or this option once "
    "for each of them: --beam-options='--runner=FlinkRunner --parallelism=64'; without "
    "--runner among them, Beam's runner on this machine.",
  )
  dry_run: bool = _option(
    False, "Print what would be read, written and needed, and write nothing."
  )
  workers: int | None = _option(
    None, "Number of worker processes; by default one for each core.", at_least=1
  )

  def __post_init__(self) -> None:
    check_choices(self)
    if not 0 <= self.eval_fraction <= 1:
      raise ValueError(
        f"eval_fraction is {self.eval_fraction}, but must be at least 0 and at most 1"
      )
    for field in dataclasses.fields(self):
      value, least = getattr(self, field.name), field.metadata["at_least"]
      if None not in (value, least) and value < least:
        raise ValueError(f"{field.name} is {value}, but must be at least {least}")
    if self.workers is not None and self.workers > machine.MOST_WORKERS:
      raise ValueError(
        f"workers is {self.workers}, but must be at most {machine.MOST_WORKERS}"
      )
    if self.eval_fraction and self.eval_per_class:
      raise ValueError("give eval_fraction or eval_per_class, not both")
    if self.eval_keys and (self.eval_fraction or self.eval_per_class):
      raise ValueError(
        "give eval_keys, or one of eval_fraction and eval_per_class, not both"
      )
    if self.eval_min_class_size is not None and not self.eval_per_class:
      raise ValueError("eval_min_class_size has no effect without eval_per_class")
    if not 1 <= self.quality <= 100:
      raise ValueError(f"quality is {self.quality}, but must be between 1 and 100")
    if self.quality != type(self).quality and self.resize is None:
      raise ValueError(
        "quality has no effect without resize: it is that of photos that are downscaled"
      )
    check_memory(self.memory)
    if self.beam_options is not None and self.runner != "beam":
      raise ValueError("beam_options has no effect without runner 'beam'")
    if not -(1 << 127) <= self.seed < 1 << 127:
      raise ValueError(f"seed is {self.seed}, but must fit 128 bits")
    self.share()

  def share(self) -> tuple[int, int]:
    """Zero-based number of the part of the work to do, and the number of parts."""
    if self.part is None:
      return 0, 1
    first, slash, second = self.part.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and second.isascii()):
      raise ValueError(f"part is {self.part!r}, but must be i/n, such as 1/4")
    if not 1 <= int(first) <= int(second):
      raise ValueError(f"part is {self.part!r}, but i must be between 1 and n")
    return int(first) - 1, int(second)

  def recorded(self) -> dict[str, Any]:
    """The options in the manifest, files as their SHA-256.

    Beside photos, classes, seed and number of shards, they decide what is packed. Names
    and order are part of the manifest's format.
    """
    return {
      "check": self.check,
      "eval_fraction": self.eval_fraction,
      "eval_per_class": self.eval_per_class,
      "eval_min_class_size": self.eval_min_class_size,
      "eval_keys": _sha256(self.eval_keys),
      "exclude_hashes": _sha256(self.exclude_hashes),
      "remap": _sha256(self.remap),
      "unlisted": self.unlisted,
      "duplicates": self.duplicates,
      "resize": self.resize,
      "quality": self.quality,
    }

  def resume_key(self) -> dict[str, Any]:
    """The options that must be the same when a run is resumed."""
    return {
      "eval": str(self.eval) if self.eval else None,
      "root": str(self.root.resolve()) if self.root else None,
      "labels": _sha256(self.labels),
      "source_split": self.source_split,
      "seed": self.seed,
      "shards": self.shards,
      "parts": self.share()[1],
      **self.recorded(),
    }


def with_changes(options: PackOptions | None, changes: dict[str, Any]) -> PackOptions:
  """The options, by default all defaults, with some replaced.

  Raises:
    TypeError: a change names no option; the message gives the nearest name.
    ValueError: an option is out of range.
  """
  names = [field.name for field in dataclasses.fields(PackOptions)]
  for name in changes:
    if name not in names:
      raise TypeError(f"pack has no option {name!r}{nearest(name, names)}")
  return dataclasses.replace(options or PackOptions(), **changes)


def _sha256(path: Path | None) -> str | None:
  return hashlib.sha256(path.read_bytes()).hexdigest() if path else None

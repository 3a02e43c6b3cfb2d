"""What `pack` was asked for: arguments checked, and the small files that they name."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from im21k.packing import external_shuffle, repair
from im21k.packing.split import Table
from im21k.photos import sources
from im21k.synsets import ClassList

_CHOICES = {
  "check": ("decode", "header"),
  "unlisted": ("error", "skip"),
  "duplicates": ("keep", "drop", "multi-label"),
  "shuffle": ("auto", "direct", "external"),
  "runner": ("local", "beam"),
}


@dataclasses.dataclass(frozen=True)
class Options:
  """The arguments of `pack`, which tells of each; a wrong one is a ValueError."""

  source: Path
  destination: Path
  classes: str
  root: Path | None
  labels: Path | None
  source_split: str
  shards: int | None
  seed: int
  eval_fraction: float
  eval_per_class: int
  eval_min_class_size: int | None
  eval_keys: Path | None
  exclude_hashes: Path | None
  remap: Path | None
  unlisted: str
  duplicates: str
  resize: int | None
  quality: int
  check: str
  shuffle: str
  memory: float | None
  part: str | None
  runner: str
  dry_run: bool
  workers: int | None

  def __post_init__(self) -> None:
    for name, known in _CHOICES.items():
      if (chosen := getattr(self, name)) not in known:
        listed = " or ".join(map(repr, known)) if len(known) == 2 else ", ".join(known)
        raise ValueError(f"{name} is {chosen!r}, but must be {listed}")
    if not 0 <= self.eval_fraction < 1 or self.eval_per_class < 0:
      raise ValueError("eval_fraction must lie in [0, 1), eval_per_class be 0 or more")
    if self.eval_fraction and self.eval_per_class:
      raise ValueError("give eval_fraction or eval_per_class, not both")
    if self.eval_keys and (self.eval_fraction or self.eval_per_class):
      raise ValueError("give eval_keys or a number to hold out, not both")
    if self.eval_min_class_size is not None and not self.eval_per_class:
      raise ValueError("eval_min_class_size is of use with eval_per_class only")
    if not 1 <= self.quality <= 100 or not (self.memory is None or self.memory > 0):
      raise ValueError("quality must lie in 1…100, and memory be more than 0")
    for name in ("resize", "shards", "workers", "eval_min_class_size"):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise ValueError(f"{name} is {value}, but must be at least 1")
    self.share()

  def share(self) -> tuple[int, int]:
    """Which part to do, from 0 on, and of how many."""
    if self.part is None:
      return 0, 1
    first, slash, second = self.part.partition("/")
    if not (slash and first.isdigit() and second.isdigit()):
      raise ValueError(f"part is {self.part!r}, but must be i/n, such as 1/4")
    if not 1 <= int(first) <= int(second):
      raise ValueError(f"part is {self.part!r}, but i must lie between 1 and n")
    return int(first) - 1, int(second)

  def content(self) -> dict[str, Any]:
    """What decides, beside photos, classes, seed and shards, what is packed."""
    return {
      "check": self.check,
      "eval_fraction": self.eval_fraction,
      "eval_per_class": self.eval_per_class,
      "eval_min_class_size": self.eval_min_class_size,
      "eval_keys": _digest(self.eval_keys),
      "exclude_hashes": _digest(self.exclude_hashes),
      "remap": _digest(self.remap),
      "unlisted": self.unlisted,
      "duplicates": self.duplicates,
      "resize": self.resize,
      "quality": self.quality,
    }

  def choice(self, classes: ClassList) -> external_shuffle.Choice:
    """Which photos get which label."""
    return external_shuffle.Choice(
      name=classes.name,
      labels={synset: label for label, synset in enumerate(classes.synsets)},
      remap=_remap(self.remap),
      skip=self.unlisted == "skip",
      excluded=_hashes(self.exclude_hashes),
      seed=self.seed,
      rules=repair.Rules(self.check == "decode", self.resize, self.quality),
    )

  def is_direct(self, found: sources.Source) -> bool:
    """Whether photos are read when their shard is written."""
    possible = found.root is not None and self.duplicates == "keep"
    if self.shuffle == "direct" and not possible:
      raise ValueError(
        "shuffle 'direct' needs photos that are files of their own, and keeps "
        "duplicates"
      )
    return possible and self.shuffle != "external"

  def held_out(self, table: Table) -> np.ndarray:
    """Mask of the photos to hold out.

    Raises:
      ValueError: there are no photos, or all would be held out.
    """
    if not len(table):
      raise ValueError("the synset folders hold no file")
    if self.eval_keys:
      mask = table.named(frozenset(self.eval_keys.read_bytes().splitlines()))
      if not mask.any():
        raise ValueError(
          f"{self.eval_keys}: no line is the key of a photo of {self.source}; one of "
          f"its keys is {table.key(0).decode('utf-8', 'backslashreplace')!r}"
        )
    elif self.eval_fraction or self.eval_per_class:
      mask = table.held_out(self._wanted)
    else:
      mask = np.zeros(len(table), bool)
    if mask.all():
      raise ValueError(
        f"all {len(table):,} photos below {self.source} would be held out and none "
        "left to train on: hold out less"
      )
    return mask

  def _wanted(self, size: int) -> int:
    """Photos to hold out of a class of this size."""
    if self.eval_fraction:
      return round(size * self.eval_fraction)
    least = self.eval_min_class_size or 2 * self.eval_per_class
    return self.eval_per_class * (size >= least)


def _remap(path: Path | None) -> dict[str, str | None]:
  if path is None:
    return {}
  found: dict[str, str | None] = {}
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    fields = line.split()
    if len(fields) != 2:
      raise ValueError(f"{path} line {number}: not two synsets, but {line[:80]!r}")
    found[fields[0]] = None if fields[1] == "-" else fields[1]
  return found


def _hashes(path: Path | None) -> frozenset[bytes]:
  if path is None:
    return frozenset()
  found = set()
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    word = line.split()[0] if line.strip() else ""
    try:
      digest = bytes.fromhex(word)
    except ValueError:
      digest = b""
    if len(digest) != 32:
      raise ValueError(f"{path} line {number}: no SHA-256 of 64 digits: {line[:80]!r}")
    found.add(digest)
  return frozenset(found)


def _digest(path: Path | None) -> str | None:
  return hashlib.sha256(path.read_bytes()).hexdigest() if path else None

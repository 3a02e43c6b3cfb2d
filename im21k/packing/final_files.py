"""Complete shards -> reports, class list and, last of all, the manifest."""

import dataclasses
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from im21k import files
from im21k.dataset import manifest
from im21k.dataset.manifest import Manifest, Shard
from im21k.packing import (
  class_choice,
  hints,
  outcomes,
  part_counts,
  scratch,
  shard_writer,
)
from im21k.packing.config import PackOptions
from im21k.packing.outcomes import Outcomes, Rejection
from im21k.packing.parts import Parts
from im21k.synsets import ClassList, as_text


@dataclasses.dataclass(frozen=True)
class Written:
  """What a run has written.

  Attributes:
    destination: folder of the shards.
    parts: the sources.
    shards: their names.
    rejections: photos that were left out before there were shards.
    skipped: number of photos that were left out for their class, by synset.
    per_photo: outcomes of all photos; None if they are in the shards' side files.
    train_labels: labels `[n]` of the packed photos that are not held out, or None too.
    placed: number of photos of each source that have a place in a shard, or, where
      `per_photo` is given, that are in one.
  """

  destination: Path
  parts: Parts
  shards: list[str]
  placed: tuple[int, ...]
  rejections: list[Rejection]
  skipped: Counter[str]
  per_photo: Outcomes | None = None
  train_labels: np.ndarray | None = None


def complete(written: Written, options: PackOptions, classes: ClassList) -> set[str]:
  """Writes reports, class list and manifest, and removes the scratch folder.

  Returns:
    The splits that have no photo, of those that there should be: train, but in a set
    for evaluation alone, and eval of a source for it. Then only reports are written.
  """
  destination = written.destination
  aside = destination / scratch.FOLDER
  shards, outcomes_of = zip(
    *(shard_writer.load_side_file(destination, name) for name in written.shards),
    strict=True,
  )
  per_photo = written.per_photo or Outcomes.join(list(outcomes_of))
  train_labels = written.train_labels
  if train_labels is None:
    of_train = [name.startswith("train-") for name in written.shards]
    labels = [each.labels for each in itertools.compress(outcomes_of, of_train)]
    train_labels = np.concatenate(labels) if labels else np.empty(0, np.int32)
  not_written = [] if written.per_photo else per_photo.rejections
  del outcomes_of  # As large as all outcomes together.
  per_photo = dataclasses.replace(
    per_photo, rejections=per_photo.rejections + written.rejections
  )
  sources = part_counts.rows(
    written.parts, written.placed, not_written, per_photo.rejections
  )
  rejected = outcomes.write(
    destination,
    per_photo,
    classes.synsets,
    options.duplicates,
    train_labels,
    written.skipped,
    aside,
    part_counts.text(sources),
  )
  splits = _splits(destination, shards)
  missing = _splits_needed(written.parts, options) - splits.keys()
  if not missing:
    text = as_text(classes)
    files.write_text(destination / manifest.CLASSES, text, aside)
    Manifest(
      class_list=classes.name,
      class_list_hash=classes.hash,
      seed=options.seed,
      options=options.recorded(),
      splits=splits,
      rejected=rejected,
      sources=sources,
    ).save(destination, aside)
  shutil.rmtree(aside, ignore_errors=True)  # Another part may be removing it too.
  return missing


def _splits_needed(parts: Parts, options: PackOptions) -> set[str]:
  """The splits without which there is nothing to pack."""
  if parts.are_divided:
    return {part.split for part in parts}
  return {"eval"} if options.eval_fraction == 1 else {"train"}


def is_complete(destination: Path, options: PackOptions, classes: ClassList) -> bool:
  """Whether the same run was killed after it had written its manifest.

  Raises:
    FileExistsError: the destination holds a data set that is complete.
  """
  if not (destination / manifest.MANIFEST).exists():
    return False
  folder = destination / scratch.FOLDER
  if folder.exists():
    before = Manifest.load(destination)
    packed = before.options, before.seed, before.class_list_hash
    if packed == (options.recorded(), options.seed, classes.hash):
      shutil.rmtree(folder, ignore_errors=True)
      return True
  raise FileExistsError(
    f"{destination} holds a packed data set already: remove it, or pack elsewhere"
  )


def result(destination: Path, options: PackOptions) -> dict[str, Any]:
  """Counts of a packed data set, as `pack` returns them."""
  packed = Manifest.load(destination)
  report = json.loads((destination / outcomes.REPORT).read_text(encoding="utf-8"))
  shards = [shard for split in packed.splits.values() for shard in split]
  counts = {
    "train": packed.count("train") if "train" in packed.splits else 0,
    "eval": packed.count("eval") if "eval" in packed.splits else 0,
    "rejected": packed.rejected,
    "classes": report["classes"],
    "bytes": sum(shard.bytes for shard in shards),
    "shards": len(shards),
    "manifest": str(destination / manifest.MANIFEST),
  }
  classes = packed.classes(destination)
  if packed.sources:
    counts["sources"] = [dataclasses.asdict(source) for source in packed.sources]
  untrained = report["classes"] - len(report["train_classes"])
  if untrained and packed.sources and len(packed.splits) > 1:
    counts["untrained"] = untrained
  counts |= class_choice.note(classes)
  if hint := hints.about_thousand(report.get("train_classes", ()), classes):
    counts["hint"] = hint
  if skipped := sum(report.get("skipped", {}).values()):
    counts["skipped"] = skipped
  if lost := report.get("damaged_archives"):
    counts["damaged_archives"] = lost
    if not options.allow_damaged_archives:
      lines = outcomes.about_damage(lost)
      more = f" (and {len(lines) - 1:,} more)" if len(lines) > 1 else ""
      counts["failed"] = (
        f"{lines[0]}{more}: see {destination / outcomes.REJECTED}, and get the archive "
        "again, or accept the loss with --allow-damaged-archives"
      )
  return counts


def _splits(
  destination: Path, written: tuple[Shard, ...]
) -> dict[str, tuple[Shard, ...]]:
  """Shards by split; those of a split whose photos were all rejected are removed."""
  splits: dict[str, tuple[Shard, ...]] = {}
  for split in ("train", "eval"):
    shards = tuple(s for s in written if s.name.startswith(split + "-"))
    if any(shard.count for shard in shards):
      splits[split] = shards
      continue
    for shard in shards:
      (destination / shard.name).unlink(missing_ok=True)
  return splits

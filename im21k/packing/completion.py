"""All shards are there: what became of the photos, and the manifest, last of all."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from im21k import files
from im21k.dataset import records
from im21k.packing import outcomes, shard_writer
from im21k.packing.config import Options
from im21k.packing.outcomes import Note, Outcomes
from im21k.packing.split import Table
from im21k.synsets import ClassList

LABELS = "labels.tsv"


def one_of_each(
  table: Table,
  usable: np.ndarray,
  per_photo: Outcomes,
  classes: ClassList,
  destination: Path | None,
) -> tuple[np.ndarray, list[Note]]:
  """Of usable photos of equal bytes the one with the first key stays.

  Returns:
    Mask of those that stay, and notes of the others. With a `destination`, labels.tsv
    there tells the synsets of photos that come in several classes.
  """
  rows = np.flatnonzero(usable)
  kept, lines = usable.copy(), []
  notes: list[Note] = []
  for group in outcomes.groups(per_photo.digests[rows]):
    first, *others = sorted(rows[group], key=table.key)
    kept[others] = False
    name = table.key(first).decode("utf-8", "backslashreplace")
    told = "duplicate", f"the same as {name}"
    notes += [note(table, row, classes, *told) for row in others]
    found = sorted({classes.synsets[label] for label in table.labels[rows[group]]})
    if len(found) > 1:
      lines.append(f"{name}\t{' '.join(found)}")
  if destination:
    text = "\n".join(["key\tsynsets", *sorted(lines)]) + "\n"
    files.write_text(destination / LABELS, text, destination / shard_writer.STATE)
  return kept, notes


def note(table: Table, row: int, classes: ClassList, kind: str, reason: str) -> Note:
  """What is told of a photo in a row of the table."""
  key = table.key(row).decode("utf-8", "surrogateescape")
  return key, classes.synsets[table.labels[row]], kind, reason


def write(
  options: Options,
  classes: ClassList,
  names: list[str],
  per_photo: Outcomes | None,
  trained: np.ndarray | None,
  notes: list[Note],
  to_train: int,
) -> None:
  """Writes reports, class list and manifest, and takes the state folder away.

  Args:
    options, classes: what was packed, and how.
    names: of all shards.
    per_photo, trained: of all photos, and labels of those that are packed to train on;
      None where the shards' side files tell them.
    notes: of photos that were left out before there were shards.
    to_train: how many photos were not held out.

  Raises:
    ValueError: no photo to train on is sound.
  """
  destination = options.destination
  aside = destination / shard_writer.STATE
  written, told = zip(
    *(shard_writer.load_side(destination, name) for name in names), strict=True
  )
  per_photo = per_photo or Outcomes.join(list(told))
  if trained is None:
    of_train = [name.startswith("train-") for name in names]
    trained = np.concatenate([o.labels for o in itertools.compress(told, of_train)])
  del told  # Its memory is that of a copy of all outcomes.
  per_photo = dataclasses.replace(per_photo, notes=per_photo.notes + notes)
  rejected = outcomes.write(
    destination, per_photo, classes.synsets, options.duplicates, trained, aside
  )
  splits = _splits(destination, written)
  if "train" not in splits:
    shutil.rmtree(aside, ignore_errors=True)
    raise ValueError(
      f"none of the {to_train:,} files to train on below {options.source} is a sound "
      f"photo: see {destination / outcomes.REJECTED}"
    )
  text = "\n".join(classes.synsets) + "\n"
  files.write_text(destination / records.CLASSES, text, aside)
  records.Manifest(
    class_list=classes.name,
    class_list_hash=classes.hash,
    seed=options.seed,
    options=options.content(),
    splits=splits,
    rejected=rejected,
  ).save(destination, aside)
  shutil.rmtree(aside, ignore_errors=True)  # Another part may be at it too.


def was_cut_short(options: Options, classes: ClassList) -> bool:
  """Whether the same job was killed after all, when it took its state away.

  Raises:
    FileExistsError: the destination holds something else that was packed.
  """
  destination = options.destination
  if not (destination / records.MANIFEST).exists():
    return False
  state = destination / shard_writer.STATE
  if state.exists():
    manifest = records.Manifest.load(destination)
    packed = manifest.options, manifest.seed, manifest.class_list_hash
    if packed == (options.content(), options.seed, classes.hash):
      shutil.rmtree(state, ignore_errors=True)
      return True
  raise FileExistsError(
    f"{destination} holds a packed data set already: remove it, or pack elsewhere"
  )


def result(destination: Path) -> dict[str, Any]:
  """Counts of a packed data set, as `pack` returns them."""
  manifest = records.Manifest.load(destination)
  told = json.loads((destination / outcomes.REPORT).read_text(encoding="utf-8"))
  kept = [shard for in_split in manifest.splits.values() for shard in in_split]
  return {
    "train": manifest.count("train"),
    "eval": manifest.count("eval") if "eval" in manifest.splits else 0,
    "rejected": manifest.rejected,
    "classes": told["classes"],
    "bytes": sum(shard.bytes for shard in kept),
    "shards": len(kept),
    "manifest": str(destination / records.MANIFEST),
  }


def _splits(
  destination: Path, written: tuple[records.Shard, ...]
) -> dict[str, tuple[records.Shard, ...]]:
  """Shards by split; a split whose photos were all rejected is removed."""
  splits: dict[str, tuple[records.Shard, ...]] = {}
  for split in ("train", "eval"):
    in_split = tuple(s for s in written if s.name.startswith(split + "-"))
    if any(shard.count for shard in in_split):
      splits[split] = in_split
      continue
    for shard in in_split:
      (destination / shard.name).unlink(missing_ok=True)
  return splits

"""Sources and options -> what packing would read, write and need; nothing is written.

Rates are measured on a sample of the photos. Where the sample is all of them, numbers
of photos and bytes are counted, not estimated.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from im21k import machine, words
from im21k.packing import estimate, hints
from im21k.packing.config import PackOptions
from im21k.packing.parts import Part, Parts
from im21k.packing.sample import Sample
from im21k.packing.selection import Selection
from im21k.packing.shard_plan import default_shards
from im21k.photos import tfds
from im21k.synsets import ClassList

# Bytes that ArrayRecord adds: for each record, and at most for each file.
_RECORD, _SHARD = 60, 128 << 10
_SAMPLE = 500  # photos that are packed to measure rates


@dataclasses.dataclass
class _Found:
  """A source: photos, bytes, bytes of its shards, and its sample.

  `sizes` are photos by class, where they are listed or were all read.
  """

  photos: int
  size: int
  packed: int
  seconds: float
  sizes: Counter[str]


def run(
  destination: Path,
  options: PackOptions,
  parts: Parts,
  selection: Selection,
  classes: ClassList,
  direct: bool,
) -> dict[str, Any]:
  """Estimates what packing takes.

  Returns:
    `photos`, of them `eval` held out, `shards` of each split, `source_bytes`,
    `packed_bytes` of the photos and `shard_bytes` of their shards, `scratch_bytes`,
    `free_bytes`, `memory_gb` of a worker, `core_hours`, and `hours` of processors, of a
    hard disk and of an SSD; `sources`, rows of several; `hint`, a line about the class
    list, if there is one.
  """
  found = [_look(part, selection, _SAMPLE // len(parts.parts) or 1) for part in parts]
  photos, size, packed = (
    sum(getattr(one, name) for one in found) for name in ("photos", "size", "packed")
  )
  held = _held_out(options, parts, found)
  scratch_bytes = 0 if direct else packed
  workers = options.workers or machine.cores()
  core_hours = sum(one.seconds for one in found) / 3600
  moved = size + packed + 2 * scratch_bytes
  memory = options.memory or estimate.memory(size, options.shards, workers)
  of_train = min(options.shards or default_shards(photos - held), photos - held)
  # The direct way seeks for each photo, the other for each part of a run in a shard.
  pieces = scratch_bytes / memory / 1e9 * max(of_train, 1)
  seeks = photos if direct else pieces
  result: dict[str, Any] = {
    "dry_run": True,
    "photos": photos,
    "eval": held,
    "shards": {"train": of_train, "eval": min(default_shards(held), held)},
    "source_bytes": size,
    "packed_bytes": packed,
    "scratch_bytes": scratch_bytes,
    "free_bytes": estimate.free(destination),
    # A worker holds no more than there is.
    "memory_gb": 0.0 if direct else options.memory or min(memory, size / 1e9),
    "core_hours": _brief(core_hours),
    "hours": {
      "processors": _brief(core_hours / workers),
      "hard_disk": _brief((moved / estimate.HARD_DISK + seeks * estimate.SEEK) / 3600),
      "ssd": _brief(moved / estimate.SSD / 3600),
    },
  }
  if not parts.is_one:
    result["sources"] = [
      {"name": part.name, "split": part.split, "packed": one.photos, "rejected": 0,
       "labels": ", ".join(file.name for file in part.source.files)}
      for part, one in zip(parts, found, strict=True)
    ]  # fmt: skip
  counts = result["shards"].values()
  result["shard_bytes"] = packed + _RECORD * photos + _SHARD * sum(counts)
  if hint := hints.about_thousand(_classes(parts, found), classes):
    result["hint"] = hint
  return result


def text(result: dict[str, Any]) -> str:
  """An estimate as text."""
  hours, size = result["hours"], estimate.amount
  shards = result["shards"]
  about = " and ".join(
    f"{words.counted(count, f'{split} shard')}"
    for split, count in shards.items()
    if count
  )
  scratch = result["scratch_bytes"]
  needs = f", and {size(scratch)} of scratch until then" if scratch else ""
  memory = result["memory_gb"]
  holds = f"; {size(round(memory * 1e9))} of memory a worker" if memory else ""
  held = f", {result['eval']:,} of them held out" if result["eval"] else ""
  return (
    f"{words.counted(result['photos'], 'photo')}{held}, "
    f"{size(result['source_bytes'])}; packed {size(result['shard_bytes'])} in "
    f"{about or 'no shard'}{needs}; {size(result['free_bytes'])} free{holds}\n"
    f"{_time(hours['processors'])} of the processors "
    f"({_time(result['core_hours'])} of one core, measured), "
    f"{_time(hours['hard_disk'])} of a hard disk of 170 MB/s, {_time(hours['ssd'])} of "
    "an SSD of 2 GB/s: the longest counts"
  )


def _look(part: Part, selection: Selection, most: int) -> _Found:
  """Numbers of a source, from a sample of its photos."""
  source = part.source.measured()
  size = sum(stream.size for stream in source.streams)
  if any(isinstance(stream, tfds.Prepared) for stream in source.streams):
    size = 0
  sample = Sample.of(source, selection, most)
  seen = max(sample.photos, 1)
  if sample.is_all:
    size = size or sample.read
    return _Found(sample.photos, size, sample.written, sample.seconds, sample.sizes)
  count, sizes = round(size * seen / max(sample.taken, 1)), sample.sizes
  if source.root:
    listed = (e for e in source.entries() if e.synset and not e.problem)
    kept = (e.synset for e in listed if selection.label(e.synset, e.path) is not None)
    sizes = Counter(kept)
    count = sizes.total()
  elif not size:
    count = source.count or 0
    size = round(sample.read / seen * count)
  share = count / seen
  return _Found(
    count, size, round(sample.written * share), sample.seconds * share, sizes
  )


def _classes(parts: Parts, found: list[_Found]) -> set[str]:
  """All classes, of sources each of which has been counted or names them; or none."""
  seen: set[str] = set()
  for part, one in zip(parts, found, strict=True):
    streams = part.source.streams
    of_part = {getattr(stream, "synset", "") for stream in streams}
    if one.sizes.total() == one.photos:
      of_part = set(one.sizes)
    if "" in of_part:
      return set()
    seen |= of_part
  return seen


def _held_out(options: PackOptions, parts: Parts, found: list[_Found]) -> int:
  """Number of photos to hold out; of classes whose sizes are not known, about."""
  if parts.are_divided:
    pairs = zip(parts, found, strict=True)
    return sum(one.photos for part, one in pairs if part.split == "eval")
  sizes: Counter[str] = Counter()
  for one in found:
    sizes.update(one.sizes)
  total, share = sum(one.photos for one in found), options.eval_fraction
  if options.eval_keys:
    lines = options.eval_keys.read_bytes().splitlines()
    return min(len(set(lines)), total)
  if share:
    counted = sizes.total() == total
    each = sum(round(size * share) for size in sizes.values())
    return each if counted else round(total * share)
  least = options.eval_min_class_size or 2 * options.eval_per_class
  scale = total / max(sizes.total(), 1)
  return options.eval_per_class * sum(s * scale >= least for s in sizes.values())


def _brief(hours: float) -> float:
  """Hours with three digits that count, however few they are."""
  return float(f"{hours:.3g}")


def _time(hours: float) -> str:
  """Hours, minutes or seconds: whatever is a number above one, if anything is."""
  seconds = hours * 3600
  if seconds < 1:
    return "less than 1 s"
  if seconds < 100:
    return f"{seconds:,.0f} s"
  return f"{seconds / 60:,.0f} min" if seconds < 6000 else f"{hours:,.1f} h"

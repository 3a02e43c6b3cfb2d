"""A packed data set, read back and compared with its manifest -> counts."""

import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader
from tqdm import tqdm

from im21k import machine
from im21k.dataset import records
from im21k.dataset.manifest import Manifest, Shard
from im21k.packing.workers import run_local
from im21k.photos.jpeg_crop import Decoder

_BATCH = 256


def verify(
  folder: Path, *, decode: float = 1.0, workers: int | None = None
) -> dict[str, Any]:
  """Reads all shards back and checks checksums, counts, labels and photos.

  Args:
    folder: Folder of a packed data set.
    decode: Share of the photos to decode, 0 to 1; every n-th photo is decoded.
    workers: Number of worker processes; by default one for each core.

  Returns:
    `photos`, `decoded`, `classes`, `shards`, `bytes`, and by class the `smallest` and
    `largest` number of photos.

  Raises:
    FileNotFoundError: the folder holds no packed data set.
    ValueError: a shard is damaged; the message names it, the record and the damage.
  """
  if not 0 <= decode <= 1:
    raise ValueError(f"decode is {decode}, but must be between 0 and 1")
  if workers is not None and workers < 1:
    raise ValueError(f"workers is {workers}, but must be at least 1")
  manifest = Manifest.load(folder)
  classes = manifest.classes(folder)
  shards = [shard for split in manifest.splits.values() for shard in split]
  for split in manifest.splits:
    manifest.shard_paths(folder, split)
  every = round(1 / decode) if decode else 0
  check = functools.partial(_check, folder, len(classes), every)
  sizes: Counter[int] = Counter()
  decoded = 0
  with tqdm(
    total=sum(s.count for s in shards), desc="verify", unit=" photos", disable=None
  ) as progress:
    for of_shard, tested in run_local(check, shards, workers or machine.cores()):
      sizes += of_shard
      decoded += tested
      progress.update(of_shard.total())
  return {
    "photos": sizes.total(),
    "decoded": decoded,
    "classes": len(sizes),
    "shards": len(shards),
    "bytes": sum(shard.bytes for shard in shards),
    "smallest": min(sizes.values()),
    "largest": max(sizes.values()),
  }


def _check(
  folder: Path, classes: int, every: int, shard: Shard
) -> tuple[Counter[int], int]:
  """Number of photos of each label in a shard, and of those that were decoded."""
  path = folder / shard.name
  checksum, sizes, decoded = records.Checksum(), Counter[int](), 0
  decoder = Decoder()  # That of training.
  try:
    for index, record in enumerate(_records(path, shard.count)):
      try:
        checksum.add_record(record)
        example = records.decode(record)
        if example.label >= classes:
          raise ValueError(f"label {example.label} of {classes:,} classes")
        if every and index % every == 0:
          decoder.check(example.jpeg)
          decoded += 1
      except ValueError as error:
        raise ValueError(f"{path} record {index:,}: {error}") from error
      sizes[example.label] += 1
  except RuntimeError:
    sizes.clear()  # ArrayRecord's own checksums do not match.
  if sizes.total() != shard.count or checksum.hexdigest() != shard.xxh3_128:
    raise ValueError(f"{path} is not what was packed: {_first_bad(path, shard.count)}")
  return sizes, decoded


def _records(path: Path, count: int) -> Iterator[bytes]:
  """Up to `count` records of a file."""
  reader = ArrayRecordReader(str(path))
  try:
    stop = min(count, reader.num_records())
    for start in range(0, stop, _BATCH):
      yield from reader.read(start, min(start + _BATCH, stop))
  finally:
    reader.close()


def _first_bad(path: Path, count: int) -> str:
  """Position of the first damage, as far as ArrayRecord's own checksums locate it."""
  try:
    reader = ArrayRecordReader(str(path))
  except (RuntimeError, ValueError) as error:
    return f"its index cannot be read ({error}); copy it again, or pack again"
  try:
    if reader.num_records() != count:
      return f"it has {reader.num_records():,} records of {count:,}; copy it again"
    for index in range(count):
      try:
        record = reader.read(index, index + 1)[0]
        records.decode(record)
      except (RuntimeError, ValueError, IndexError) as error:
        return (
          f"the first bad record is {index:,} of {count:,} ({error}); copy it again, "
          "or pack again"
        )
  finally:
    reader.close()
  return (
    "each record is sound, but they are not those that were packed; copy it again, or "
    "pack again"
  )


def text(result: dict[str, Any]) -> str:
  """The result of `verify` as text."""
  return (
    f"all sound: {result['photos']:,} photos ({result['decoded']:,} decoded) of "
    f"{result['classes']:,} classes, {result['smallest']:,} to {result['largest']:,} a "
    f"class, in {result['shards']:,} shards ({result['bytes'] / 1e6:,.1f} MB)"
  )

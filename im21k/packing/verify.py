"""A packed data set, read back and compared with its manifest -> counts."""

import array
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash
from tqdm import tqdm

from im21k import documents, machine, words
from im21k.dataset import records, shard_files
from im21k.dataset.manifest import MANIFEST, REMEDY, Manifest, Shard
from im21k.fields import Fields
from im21k.packing import outcomes
from im21k.packing.workers import run_local
from im21k.photos.crops import RandomResizedCrop, StraightCrop
from im21k.photos.jpeg_crop import Decoder

_BATCH = 256
# Those of training.
_CROPS = StraightCrop(224, 256), RandomResizedCrop(224)


def verify(
  folder: Path, *, decode: float = 1.0, workers: int | None = None
) -> dict[str, Any]:
  """Reads all shards back and checks checksums, counts, labels, keys and photos.

  Args:
    folder: Folder of a packed data set.
    decode: Share of the photos to decode, 0 to 1; every n-th photo is decoded, as a
      whole and as training does: as a straight and a random crop.
    workers: Number of worker processes; by default one for each core.

  Returns:
    `photos`, `decoded`, `classes`, `shards`, `bytes`, by class the `smallest` and
    `largest` number of photos, and `strays`: names of shards in the folder that its
    manifest does not list.

  Raises:
    FileNotFoundError: the folder holds no packed data set.
    ValueError: shards are damaged, or a photo is in them twice; the message names the
      shards, and the first bad record of each.
  """
  if not 0 <= decode <= 1:
    raise ValueError(f"decode is {decode}, but must be between 0 and 1")
  if workers is not None and not 1 <= workers <= machine.MOST_WORKERS:
    raise ValueError(
      f"workers is {workers}, but must be at least 1 and at most {machine.MOST_WORKERS}"
    )
  manifest = Manifest.load(folder)
  classes = manifest.classes(folder)
  shards = [shard for split in manifest.splits.values() for shard in split]
  manifest.check_files(folder)
  every = round(1 / decode) if decode else 0
  check = functools.partial(_check, folder, len(classes), every)
  sizes: Counter[int] = Counter()
  decoded, faults = 0, list[str]()
  keys: list[npt.NDArray[np.uint64]] = []
  with tqdm(
    total=sum(s.count for s in shards), desc="verify", unit=" photos", disable=None
  ) as progress:
    for of_shard in run_local(check, shards, workers or machine.cores()):
      sizes += of_shard.labels
      decoded += of_shard.decoded
      keys.append(np.frombuffer(of_shard.keys, np.uint64))
      faults += [of_shard.fault] if of_shard.fault else []
      progress.update(of_shard.labels.total())
  if faults:
    more = f"{len(faults):,} of {words.counted(len(shards), 'shard')} are damaged: "
    raise ValueError((more if len(faults) > 1 else "") + "; ".join(faults))
  _refuse_repeated_keys(folder, shards, keys)
  _check_report(folder, sizes.total())
  listed = {shard.name for shard in shards}
  return {
    "photos": sizes.total(),
    "decoded": decoded,
    "classes": len(sizes),
    "shards": len(shards),
    "bytes": sum(shard.bytes for shard in shards),
    "smallest": min(sizes.values(), default=0),
    "largest": max(sizes.values(), default=0),
    "strays": sorted(
      path.name for path in folder.glob("*.array_record") if path.name not in listed
    ),
  }


def _check_report(folder: Path, photos: int) -> None:
  """Raises ValueError unless there are as many photos as the report says."""
  path = folder / outcomes.REPORT
  if not path.exists():  # The first version wrote none.
    return
  packed = Fields(documents.read(path, REMEDY), path, REMEDY).integer("packed")
  if packed != photos:
    raise ValueError(
      f"{folder / MANIFEST} lists {photos:,} photos, but by {path.name} {packed:,} "
      f"were packed: {REMEDY}"
    )


class _Checked(NamedTuple):
  """What is in a shard: photos by label, those decoded, and a hash of each key.

  `fault` is what is wrong with it, if anything is.
  """

  labels: Counter[int]
  decoded: int
  keys: bytes
  fault: str = ""


def _check(folder: Path, classes: int, every: int, shard: Shard) -> _Checked:
  """Reads a shard up to its first fault."""
  path = folder / shard.name
  checksum, sizes, decoded = records.Checksum(), Counter[int](), 0
  keys, decoder, fault = array.array("Q"), Decoder(), ""
  try:
    for index, record in enumerate(_records(path, shard.count)):
      try:
        checksum.add_record(record)
        example = records.decode(record)
        if example.label >= classes:
          raise ValueError(f"label {example.label} of {classes:,} classes")
        if every and index % every == 0:
          _decode(decoder, example.jpeg, index)
          decoded += 1
      except ValueError as error:
        fault = f"{path} record {index:,}: {error}"
        return _Checked(sizes, decoded, keys.tobytes(), fault)
      sizes[example.label] += 1
      keys.append(_hash(example))
    is_sound = sizes.total() == shard.count and _is_sound(path, shard, checksum)
  except RuntimeError:
    is_sound = False  # ArrayRecord's own checksums do not match.
  if not is_sound:
    fault = f"{path} is not what was packed: {_first_bad(path, shard.count)}"
  return _Checked(sizes, decoded, keys.tobytes(), fault)


def _decode(decoder: Decoder, jpeg: bytes, seed: int) -> None:
  """Decodes a photo as a whole, and the parts that training would cut from it."""
  decoder.check(jpeg)
  size = decoder.open(jpeg)
  rng: Any = np.random.default_rng(seed)
  for crop in _CROPS:
    decoder.crop(crop.draw(*size, rng), crop.size)


def _is_sound(path: Path, shard: Shard, checksum: records.Checksum) -> bool:
  """Whether the checksum of a shard is right, as this or an early version made it."""
  stated = shard.xxh3_128
  if checksum.hexdigest() == stated:
    return True
  # Early versions hashed the records one after another, or the file.
  if len(stated) == 64:
    with path.open("rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest() == stated
  of_records, of_file = xxhash.xxh3_128(), xxhash.xxh3_128()
  for record in _records(path, shard.count):
    of_records.update(record)
  with path.open("rb") as file:
    while data := file.read(1 << 20):
      of_file.update(data)
  return stated in (of_records.hexdigest(), of_file.hexdigest())


def _hash(example: records.Example) -> int:
  return xxhash.xxh3_64_intdigest(example.key.encode("utf-8", "surrogateescape"))


def _refuse_repeated_keys(
  folder: Path, shards: Sequence[Shard], keys: Sequence[npt.NDArray[np.uint64]]
) -> None:
  """Raises ValueError if a photo is packed twice: in training and held out, say."""
  hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *keys]))
  repeated = hashes[1:][hashes[1:] == hashes[:-1]]
  if not len(repeated):
    return
  places: list[str] = []
  for shard, of_shard in zip(shards, keys, strict=True):
    for index in np.flatnonzero(of_shard == repeated[0]).tolist():
      record = next(
        itertools.islice(_records(folder / shard.name, index + 1), index, None)
      )
      places.append(f"record {index:,} of {shard.name}")
      key = records.decode(record).key
  raise ValueError(
    f"{folder}: photo {key!r} is {' and '.join(places[:3])}; in all {len(repeated):,} "
    "photos come twice, so that photos held out may be trained on: pack again"
  )


def _records(path: Path, count: int) -> Iterator[bytes]:
  """Up to `count` records of a file."""
  with shard_files.opened(str(path)) as reader:
    stop = min(count, reader.num_records())
    for start in range(0, stop, _BATCH):
      yield from reader.read(start, min(start + _BATCH, stop))


def _first_bad(path: Path, count: int) -> str:
  """Position of the first damage, as far as ArrayRecord's own checksums locate it."""
  with shard_files.opened(str(path)) as reader:
    if reader.num_records() != count:
      return f"it has {reader.num_records():,} records of {count:,}; {REMEDY}"
    for index in range(count):
      try:
        records.decode(reader.read(index, index + 1)[0])
      except (RuntimeError, ValueError, IndexError) as error:
        return f"the first bad record is {index:,} of {count:,} ({error}); {REMEDY}"
  return f"each record is sound, but they are not those that were packed; {REMEDY}"


def text(result: dict[str, Any]) -> str:
  """The result of `verify` as text."""
  strays = result["strays"]
  shown = ", ".join(map(repr, strays[:3])) + (", …" if len(strays) > 3 else "")
  note = f"\nnot in the manifest: {words.counted(len(strays), 'shard')} ({shown})"
  note = note if strays else ""
  return (
    f"all sound: {words.counted(result['photos'], 'photo')} "
    f"({result['decoded']:,} decoded) of {words.counted(result['classes'], 'class')}, "
    f"{result['smallest']:,} to {result['largest']:,} a class, in "
    f"{words.counted(result['shards'], 'shard')} ({result['bytes'] / 1e6:,.1f} MB)"
    f"{note}"
  )

"""Photos in synset folders -> shuffled ArrayRecord shards and a manifest.

A keyed hash of each photo's key gives its place, so the shuffle depends on the seed
and the keys alone: not on the order of arrival, and not on the number of workers.
"""

import array
import collections
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from im21k import files, synsets
from im21k.data import images, records, sources

REJECTED = "rejected.tsv"
_PHOTOS_PER_SHARD = 8192  # about 140 MB of photos with a short side of 256
_LEAST_SHARDS = 16  # so that many readers find work


def pack(
  source: Path,
  destination: Path,
  *,
  classes: str = "imagenet21k",
  shards: int | None = None,
  seed: int = 0,
  eval_fraction: float = 0.0,
  eval_per_class: int = 0,
  eval_min_class_size: int | None = None,
  check: str = "decode",
  workers: int | None = None,
) -> dict[str, Any]:
  """Packs photos in synset folders into shuffled ArrayRecord shards.

  The same photos and seed give the same bytes, with any number of workers. Photos
  that are no sound JPEGs are left out and listed in DESTINATION/rejected.tsv.

  Args:
    source: folder of synset folders (n01440764/…).
    destination: folder for the shards; must not hold a packed data set yet.
    classes: class list: imagenet21k, ilsvrc2012, or a text file of synset ids.
    shards: number of train shards; by default one for every 8,192 photos, 16 at least.
    seed: of the shuffle and of the held-out split.
    eval_fraction: share of every class to hold out, rounded.
    eval_per_class: photos of every class to hold out.
    eval_min_class_size: with eval_per_class: hold out of classes with at least so
      many photos; by default twice as many as are held out.
    check: decode (every photo is decoded once) or header (50 times cheaper, finds no
      damage inside a photo).
    workers: processes; by default one a core.

  Returns:
    Counts: `train`, `eval`, `rejected`, `classes`, `bytes`, `shards`, and the path
    `manifest`.

  Raises:
    ValueError, NotADirectoryError: the source holds something else, no photo to train
      on is sound, or an argument is out of range; the message says which.
    FileExistsError: the destination holds a packed data set.
    OSError: a shard cannot be written.
  """
  if check not in ("decode", "header"):
    raise ValueError(f"check is {check!r}, but must be 'decode' or 'header'")
  if not 0 <= eval_fraction < 1 or eval_per_class < 0:
    raise ValueError("eval_fraction must lie in [0, 1), eval_per_class be 0 or more")
  if eval_fraction and eval_per_class:
    raise ValueError("give eval_fraction or eval_per_class, not both")
  if eval_min_class_size is not None and not eval_per_class:
    raise ValueError("eval_min_class_size is of use with eval_per_class only")
  for name, value in (
    ("shards", shards),
    ("workers", workers),
    ("eval_min_class_size", eval_min_class_size),
  ):
    if value is not None and value < 1:
      raise ValueError(f"{name} is {value}, but must be at least 1")
  if (destination / records.MANIFEST).exists():
    raise FileExistsError(
      f"{destination} holds a packed data set already: remove it, or pack elsewhere"
    )
  class_list = synsets.get(classes)
  table = _Table.read(sources.synset_folders(source), class_list, seed)
  held_out = table.held_out(
    lambda size: (
      round(size * eval_fraction)
      if eval_fraction
      else eval_per_class * (size >= (eval_min_class_size or 2 * eval_per_class))
    )
  )
  if held_out.all():
    raise ValueError(
      f"all {len(table):,} photos below {source} would be held out and none left to "
      "train on: hold out less"
    )
  destination.mkdir(parents=True, exist_ok=True)
  files.remove_leftovers(destination)
  tasks = itertools.chain(
    table.shards("train", ~held_out, shards), table.shards("eval", held_out, None)
  )
  write = functools.partial(_write_shard, source, destination, check)
  total, written, rejected = len(table), [], []
  with tqdm(total=total, desc="pack", unit=" photos", disable=None) as progress:
    for shard, bad in _each(write, tasks, workers or os.cpu_count() or 1):
      written.append(shard)
      rejected += bad
      progress.update(shard.count + len(bad))
      progress.set_postfix(rejected=len(rejected))
  _write_rejected(destination / REJECTED, rejected)
  splits: dict[str, tuple[records.Shard, ...]] = {}
  for split in ("train", "eval"):
    found = tuple(s for s in written if s.name.startswith(split + "-"))
    if any(shard.count for shard in found):
      splits[split] = found
    else:  # All its photos were rejected.
      for shard in found:
        (destination / shard.name).unlink()
  if "train" not in splits:
    raise ValueError(
      f"none of the {np.sum(~held_out):,} files to train on below {source} is a sound "
      f"JPEG: see {destination / REJECTED}"
    )
  files.write_text(destination / records.CLASSES, "\n".join(class_list.synsets) + "\n")
  manifest = records.Manifest(
    class_list=class_list.name,
    class_list_hash=class_list.hash,
    seed=seed,
    options={
      "check": check,
      "eval_fraction": eval_fraction,
      "eval_per_class": eval_per_class,
      "eval_min_class_size": eval_min_class_size,
    },
    splits=splits,
    rejected=len(rejected),
  )
  manifest.save(destination)
  kept = [shard for found in splits.values() for shard in found]
  return {
    "train": manifest.count("train"),
    "eval": manifest.count("eval") if "eval" in splits else 0,
    "rejected": len(rejected),
    "classes": len(np.unique(table.labels)),
    "bytes": sum(shard.bytes for shard in kept),
    "shards": len(kept),
    "manifest": str(destination / records.MANIFEST),
  }


@dataclasses.dataclass(frozen=True)
class _Task:
  name: str
  keys: list[bytes]
  labels: np.ndarray


class _Table:
  """Keys, labels and hashes of all photos, in 30 bytes a photo beside its key."""

  def __init__(
    self, keys: bytearray, ends: np.ndarray, labels: np.ndarray, hashes: np.ndarray
  ):
    self.labels = labels
    self._keys, self._ends = keys, ends
    self._place, self._split = hashes[:, 0], hashes[:, 1]

  @classmethod
  def read(
    cls, entries: Iterable[sources.Entry], classes: synsets.ClassList, seed: int
  ) -> "_Table":
    keys, hashes = bytearray(), bytearray()
    ends, labels = array.array("q"), array.array("i")
    secret = seed.to_bytes(16, "little", signed=True)
    for entry in entries:
      key = entry.key.encode("utf-8", "surrogateescape")
      keys += key
      ends.append(len(keys))
      labels.append(_label(entry, classes))
      hashes += hashlib.blake2b(key, digest_size=16, key=secret).digest()
    if not labels:
      raise ValueError("the synset folders hold no file")
    return cls(
      keys,
      np.frombuffer(ends, np.int64),
      np.frombuffer(labels, np.int32),
      np.frombuffer(hashes, "<u8").reshape(-1, 2),
    )

  def __len__(self) -> int:
    return len(self.labels)

  def held_out(self, wanted: Any) -> np.ndarray:
    """Mask of the photos to hold out: `wanted(class size)` of each class."""
    order = np.lexsort((self._split, self.labels))
    sizes = np.bincount(self.labels)
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(order)) - starts[self.labels[order]]
    quota = np.array([wanted(size) for size in sizes])
    mask = np.zeros(len(order), bool)
    mask[order] = rank < quota[self.labels[order]]
    return mask

  def shards(self, split: str, mask: np.ndarray, count: int | None) -> Iterator[_Task]:
    """The tasks of a split: its photos in shuffled order, cut into equal shards."""
    chosen = np.flatnonzero(mask)
    # Equal hashes (one pair is likely among 14 million with chance 1e-5) keep the
    # order of the sorted keys.
    order = chosen[np.argsort(self._place[chosen], kind="stable")]
    if count is None:
      count = max(_LEAST_SHARDS, -(-len(order) // _PHOTOS_PER_SHARD))
    count = min(count, len(order))
    for index in range(count):
      rows = order[len(order) * index // count : len(order) * (index + 1) // count]
      yield _Task(
        records.shard_name(split, index, count),
        [self._key(row) for row in rows],
        self.labels[rows],
      )

  def _key(self, row: int) -> bytes:
    start = self._ends[row - 1] if row else 0
    return bytes(self._keys[start : self._ends[row]])


_Rejected = tuple[str, str]


def _write_shard(
  source: Path, destination: Path, check: str, task: _Task
) -> tuple[records.Shard, list[_Rejected]]:
  path = destination / task.name
  rejected = []
  with files.whole(path) as aside:
    count = 0
    with _writer(aside) as writer:
      for raw_key, label in zip(task.keys, task.labels, strict=True):
        key = raw_key.decode("utf-8", "surrogateescape")
        try:
          jpeg = (source / os.fsdecode(raw_key)).read_bytes()
          images.check_jpeg(jpeg, decode_all=check == "decode")
        except (images.ImageError, OSError) as error:
          rejected.append((key, getattr(error, "strerror", None) or str(error)))
          continue
        writer.write(records.encode(records.Example(key, int(label), jpeg)))
        count += 1
    with aside.open("rb") as shard:
      sha256 = hashlib.file_digest(shard, "sha256").hexdigest()
    size = aside.stat().st_size
  return records.Shard(task.name, count, size, sha256), rejected


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[ArrayRecordWriter]:
  """A writer that is closed at the end, with errors such as a full disk as OSError."""
  try:
    writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
    yield writer
    writer.close()
  except RuntimeError as error:
    raise OSError(str(error)) from error


def _each(write: Any, tasks: Iterable[_Task], workers: int) -> Iterator[Any]:
  """Results of `write(task)` in the tasks' order; two tasks a worker are in hand."""
  if workers == 1:
    yield from map(write, tasks)
    return
  # Not fork: the process may hold threads of JAX.
  context = multiprocessing.get_context("forkserver")
  with futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
    waiting: collections.deque[futures.Future] = collections.deque()
    for task in tasks:
      waiting.append(pool.submit(write, task))
      if len(waiting) >= 2 * workers:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def _label(entry: sources.Entry, classes: synsets.ClassList) -> int:
  try:
    return classes.index(entry.synset)
  except KeyError:
    raise ValueError(
      f"{entry.where} lies in folder {entry.synset}, which is not among the "
      f"{len(classes):,} synsets of class list {classes.name!r}: take the folder away, "
      "or give a list that has it (--classes, a text file of synset ids)"
    ) from None


def _write_rejected(path: Path, rejected: list[_Rejected]) -> None:
  lines = ["key\treason"]
  for key, reason in sorted(rejected):
    lines.append(f"{_one_line(key)}\t{_one_line(reason)}")
  files.write_text(path, "\n".join(lines) + "\n")


def _one_line(text: str) -> str:
  """`text` with tabs, line ends and undecodable bytes written as escapes."""
  escaped = text.encode("utf-8", "backslashreplace").decode("utf-8")
  return escaped.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def text(result: dict[str, Any]) -> str:
  """The result of `pack` for people."""
  return (
    f"packed {result['train']:,} train and {result['eval']:,} held-out photos of "
    f"{result['classes']:,} classes into {result['shards']:,} shards "
    f"({result['bytes'] / 1e6:,.1f} MB); {result['rejected']:,} rejected\n"
    f"manifest: {result['manifest']}"
  )

"""The external shuffle: sources -> sorted runs on disk -> the records of a shard.

A run is a file of records, sorted by their places in the shuffle, and an .npz that
tells of each. Runs are written in one go and read in a few pieces a shard, so a disk
hardly seeks. How photos fall into runs does not change what is packed.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from im21k import files
from im21k.data import records, repair, report
from im21k.data.sources import Photo

_GAP = 1 << 20  # bytes; a disk reads them in less time than it seeks


@dataclasses.dataclass(frozen=True)
class Choice:
  """Which photos get which label.

  Attributes:
    name: of the class list, for messages.
    labels: by synset.
    remap: synsets that stand for others; None leaves a synset's photos out.
    skip: whether photos of a class that is not listed are left out, not an error.
    excluded: SHA-256 (16 bytes) of photos to leave out.
    seed: of the shuffle.
    rules: for photos that are no plain JPEGs.
  """

  name: str
  labels: dict[str, int]
  remap: dict[str, str | None]
  skip: bool
  excluded: frozenset[bytes]
  seed: int
  rules: repair.Rules

  def label(self, synset: str, where: object) -> int | None:
    """None if the photo belongs to a class that is left out.

    Raises:
      ValueError: the class is not listed, and not to be skipped.
    """
    mapped = self.remap.get(synset, synset)
    if mapped is None:
      return None
    if mapped in self.labels:
      return self.labels[mapped]
    if self.skip:
      return None
    raise ValueError(
      f"{where} lies in folder {synset}, which is not among the "
      f"{len(self.labels):,} synsets of class list {self.name!r}: take the folder "
      "away, or give a list that has it (--classes, a text file of synset ids)"
    )

  def place(self, key: bytes) -> bytes:
    """16 bytes: the place in the shuffle, and in the draw of held-out photos."""
    secret = self.seed.to_bytes(16, "little", signed=True)
    return hashlib.blake2b(key, digest_size=16, key=secret).digest()

  def prepared(self, data: bytes) -> tuple[bytes, tuple[str, ...], bytes]:
    """Bytes to pack, kinds, and digest of the original; may raise `Rejected`."""
    digest = hashlib.sha256(data).digest()[:16]
    if digest in self.excluded:
      raise repair.Rejected("excluded", "its SHA-256 is among those to exclude")
    jpeg, kinds = repair.prepare(data, self.rules)
    return jpeg, kinds, digest


@dataclasses.dataclass
class Run:
  """Photos in the order of the shuffle, as arrays [n]; `length` 0 were rejected."""

  keys: np.ndarray  # bytes of all keys
  ends: np.ndarray
  labels: np.ndarray
  places: np.ndarray  # [n, 2]
  offsets: np.ndarray
  lengths: np.ndarray
  kinds: np.ndarray
  digests: np.ndarray  # [n, 2]
  notes: np.ndarray
  consumed: np.ndarray  # photos of the task up to the end of this run
  last: np.ndarray

  def save(self, path: Path) -> None:
    with files.whole(path) as aside, aside.open("wb") as file:
      np.savez(file, **vars(self))

  @classmethod
  def load(cls, path: Path) -> "Run":
    with np.load(path, allow_pickle=False) as arrays:
      return cls(**arrays)


def run_path(folder: Path, task: int, index: int) -> Path:
  """Of the .npz; the records lie beside it in a .bin."""
  return folder / f"run-{task:05d}-{index:05d}.npz"


def is_done(folder: Path, task: int) -> bool:
  """Whether all runs of a task are there."""
  return any(bool(Run.load(path).last) for path in folder.glob(f"run-{task:05d}-*.npz"))


def write_runs(
  folder: Path, choice: Choice, limit: int, task: tuple[int, tuple]
) -> tuple[int, int]:
  """Reads a task's streams into runs of some `limit` bytes, going on where it was.

  Returns:
    Photos that were read, and those rejected.
  """
  number, streams = task
  index = consumed = 0
  while (path := run_path(folder, number, index)).exists():
    found = Run.load(path)
    consumed, index = int(found.consumed), index + 1
    if found.last:
      return 0, 0
  everything = itertools.chain.from_iterable(stream.photos() for stream in streams)
  photos = itertools.islice(everything, consumed, None)
  read = rejected = 0
  last = False
  while not last:
    batch = _Batch(choice)
    while batch.size < limit and not last:
      photo = next(photos, None)
      if photo is None:
        last = True
      else:
        batch.add(photo)
        consumed += 1
        read += 1
    batch.save(run_path(folder, number, index), consumed, last)
    rejected += len(batch.notes)
    index += 1
  return read, rejected


class _Batch:
  def __init__(self, choice: Choice):
    self.choice = choice
    self.size = 0
    self.rows: list[tuple[bytes, bytes, int, bytes, int, bytes]] = []
    self.notes: list[report.Note] = []

  def add(self, photo: Photo) -> None:
    label = None
    if photo.synset:
      label = self.choice.label(photo.synset, photo.key)
      if label is None:
        return
    record, digest, kinds = b"", bytes(16), 0
    try:
      if photo.problem:
        raise repair.Rejected(*photo.problem)
      assert label is not None
      jpeg, names, digest = self.choice.prepared(photo.data)
      record = records.encode(records.Example(photo.key, label, jpeg))
      kinds = report.bits(names)
    except repair.Rejected as error:
      self.notes.append((photo.key, photo.synset, error.kind, str(error)))
      if (photo.problem and photo.problem[0] != "unreadable") or label is None:
        return  # It is no photo of the list.
    key = photo.key.encode("utf-8", "surrogateescape")
    place = self.choice.place(key)
    self.rows.append((place, key, label, digest, kinds, record))
    self.size += len(record) + 200

  def save(self, path: Path, consumed: int, last: bool) -> None:
    places = np.frombuffer(b"".join(r[0] for r in self.rows), "<u8").reshape(-1, 2)
    rows = [self.rows[i] for i in np.argsort(places[:, 0], kind="stable")]
    with files.whole(path.with_suffix(".bin")) as aside, aside.open("wb") as file:
      for row in rows:
        file.write(row[5])
    lengths = np.array([len(row[5]) for row in rows], np.int64)
    joined = [b"".join(row[i] for row in rows) for i in (0, 1, 3)]
    Run(
      keys=np.frombuffer(joined[1], np.uint8),
      ends=np.cumsum([len(row[1]) for row in rows], dtype=np.int64),
      labels=np.array([row[2] for row in rows], np.int32),
      places=np.frombuffer(joined[0], "<u8").reshape(-1, 2),
      offsets=np.cumsum(lengths) - lengths,
      lengths=lengths.astype(np.int32),
      kinds=np.array([row[4] for row in rows], np.uint64),
      digests=np.frombuffer(joined[2], "<u8").reshape(-1, 2),
      notes=report.as_bytes(self.notes),
      consumed=np.array(consumed),
      last=np.array(last),
    ).save(path)


def read_records(
  paths: list[Path], runs: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
) -> Iterator[bytes]:
  """Records `[n]` in the order asked for, read in the order in which they lie."""
  found: list[bytes] = [b""] * len(runs)
  order = np.lexsort((offsets, runs))
  for run in np.unique(runs):
    rows = order[runs[order] == run]
    ends = offsets[rows] + lengths[rows]
    cuts = np.flatnonzero(offsets[rows][1:] - ends[:-1] > _GAP) + 1
    with paths[run].open("rb", buffering=0) as file:
      for piece in np.split(rows, cuts):
        start = int(offsets[piece[0]])
        file.seek(start)
        size = int(offsets[piece[-1]] + lengths[piece[-1]]) - start
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        while got < size and (count := file.readinto(view[got:])):
          got += count
        if got < size:
          raise OSError(f"{paths[run]} ends at byte {start + got:,}: remove it")
        for row in piece:
          at = int(offsets[row]) - start
          found[row] = bytes(view[at : at + int(lengths[row])])
  return iter(found)

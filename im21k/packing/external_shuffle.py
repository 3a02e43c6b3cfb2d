"""The external shuffle: sources -> sorted runs on disk -> the records of a shard.

A run is a file of records, sorted by their places in the shuffle, and a bundle that
tells of each. Runs are written in one go and read in a few pieces a shard, so a disk
hardly seeks. How photos fall into runs does not change what is packed.
"""

import dataclasses
import hashlib
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from im21k import files
from im21k.dataset import records
from im21k.packing import bundle, outcomes, repair, workers
from im21k.photos.sources import Photo

_GAP = 1 << 20  # bytes; a disk reads them in less time than it seeks
# Records that are written in one call, and their bytes: of 1 MB and more the system
# takes large pages, which costs several times as much where memory is not at hand.
_MOST_PIECES, _MOST_BYTES = 1024, 256 << 10
# Memory for records, kept from one run or shard to the next: to have it anew from the
# system takes as long as to read what goes into it.
_arena = np.empty(0, np.uint8)


@dataclasses.dataclass(frozen=True)
class Choice:
  """Which photos get which label.

  Attributes:
    name: of the class list, for messages.
    labels: by synset.
    remap: synsets that stand for others; None leaves a synset's photos out.
    skip: whether photos of a class that is not listed are left out, not an error.
    excluded: SHA-256 of photos to leave out.
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

  def placer(self) -> Callable[[bytes], bytes]:
    """Gives 16 bytes for a key: its place in the shuffle, and in that of held-out."""
    secret, hashed = self.seed.to_bytes(16, "little", signed=True), hashlib.blake2b
    return lambda key: hashed(key, digest_size=16, key=secret).digest()

  def prepared(self, data: bytes) -> tuple[bytes, int, bytes]:
    """Bytes to pack, kinds as bits, and digest of the original.

    Raises:
      Rejected: the photo is left out.
    """
    if self.excluded and hashlib.sha256(data).digest() in self.excluded:
      raise repair.Rejected("excluded", "its SHA-256 is among those to exclude")
    jpeg, kinds = repair.prepare(data, self.rules)
    return jpeg, outcomes.bits(kinds), records.digest(data)


def run_path(folder: Path, task: int, index: int) -> Path:
  """Of what tells of a run; the records lie beside it in a .bin."""
  return folder / f"run-{task:05d}-{index:05d}.run"


def is_done(folder: Path, task: int) -> bool:
  """Whether all runs of a task are there."""
  return any(bundle.head(path)["last"] for path in folder.glob(f"run-{task:05d}-*.run"))


def write_runs(
  folder: Path, choice: Choice, limit: int, task: tuple[int, tuple]
) -> None:
  """Reads a task's streams into runs of `limit` bytes, going on where it was."""
  number, streams = task
  index = consumed = 0
  while (path := run_path(folder, number, index)).exists():
    told = bundle.head(path)
    consumed, index = told["consumed"], index + 1
    if told["last"]:
      return
  everything = itertools.chain.from_iterable(stream.photos() for stream in streams)
  batch, tally = _Batch(choice, limit), workers.Tally()
  for photo in itertools.islice(everything, consumed, None):
    rejected = len(batch.notes)
    if not batch.add(photo):
      batch.save(run_path(folder, number, index), consumed, False)
      index, batch, rejected = index + 1, _Batch(choice, limit), 0
      batch.add(photo)
    consumed += 1
    tally.add(len(photo.data), len(batch.notes) > rejected)
  tally.tell()
  batch.save(run_path(folder, number, index), consumed, True)


class _Batch:
  """The photos of a run: their records in the arena, and lists of the rest."""

  def __init__(self, choice: Choice, limit: int):
    self._choice, self._limit, self._size = choice, limit, 0
    self._synsets, self._place = tuple(choice.labels), choice.placer()
    self._rows: list[tuple[bytes, bytes, int, bytes, int, int, int]] = []
    self.notes: list[outcomes.Note] = []

  def add(self, photo: Photo) -> bool:
    """Takes a photo in; False if there is no room for it."""
    choice, label = self._choice, None
    if photo.synset:
      label = choice.label(photo.synset, photo.key)
      if label is None:
        return True
    key = photo.key.encode("utf-8", "surrogateescape")
    start, size, digest, kinds = self._size, 0, bytes(16), 0
    try:
      if photo.problem:
        raise repair.Rejected(*photo.problem)
      if label is None:
        raise repair.Rejected("unreadable", "nothing says its class")
      jpeg, kinds, digest = choice.prepared(photo.data)
    except repair.Rejected as error:
      synset = photo.synset if label is None else self._synsets[label]
      self.notes.append(outcomes.note(key, synset, error))
      if (photo.problem and photo.problem[0] != "unreadable") or label is None:
        return True  # It is no photo of the list.
    else:
      head = records.head(key, label)
      size = len(head) + len(jpeg)
      if self._size + size > self._limit and self._size:
        return False
      view = _room(max(self._limit, size))
      view[start : start + len(head)] = head
      view[start + len(head) : start + size] = jpeg
      self._size += size
    assert label is not None
    self._rows.append((self._place(key), key, label, digest, kinds, start, size))
    return True

  def save(self, path: Path, consumed: int, last: bool) -> None:
    columns = list(zip(*self._rows, strict=True)) or [()] * 7
    places = np.frombuffer(b"".join(columns[0]), "<u8").reshape(-1, 2)
    order = np.argsort(places[:, 0], kind="stable")
    starts, lengths = (np.array(columns[i], np.int64)[order] for i in (5, 6))
    bin_path = path.with_suffix(".bin")
    view = _arena.data
    with files.whole(bin_path) as aside, workers.disk():
      spans = zip(starts.tolist(), lengths.tolist(), strict=True)
      _write(aside, [view[at : at + size] for at, size in spans if size])
    keys = [columns[1][row] for row in order.tolist()]
    bundle.save(
      path,
      {
        "consumed": consumed,
        "last": last,
        "photos": len(keys),
        "key_bytes": sum(map(len, keys)),
      },
      keys=np.frombuffer(b"".join(keys), np.uint8),
      ends=np.cumsum([len(key) for key in keys], dtype=np.int64),
      labels=np.array(columns[2], np.int32)[order],
      places=places[order],
      digests=np.frombuffer(b"".join(columns[3]), "<u8").reshape(-1, 2)[order],
      kinds=np.array(columns[4], np.uint32)[order],
      offsets=np.cumsum(lengths) - lengths,
      lengths=lengths.astype(np.int32),
      notes=outcomes.as_bytes(self.notes),
    )


def gather(paths: list[Path]) -> tuple[dict[str, np.ndarray], list[outcomes.Note]]:
  """What is told of the photos of all runs, one after another, and the notes.

  Returns:
    `keys` (bytes of all), `ends` (of each among them), `labels`, `places`, `digests`,
    `kinds`, `runs`, `offsets` and `lengths`; a photo of length 0 was rejected.
  """
  heads = [bundle.head(path) for path in paths]
  total = sum(head["photos"] for head in heads)
  found = {
    "keys": np.empty(sum(head["key_bytes"] for head in heads), np.uint8),
    "ends": np.empty(total, np.int64),
    "labels": np.empty(total, np.int32),
    "places": np.empty((total, 2), np.uint64),
    "digests": np.empty((total, 2), np.uint64),
    "kinds": np.empty(total, np.uint32),
    "runs": np.empty(total, np.int32),
    "offsets": np.empty(total, np.int64),
    "lengths": np.empty(total, np.int32),
  }
  notes: list[outcomes.Note] = []
  at = key_at = 0
  for index, (path, head) in enumerate(zip(paths, heads, strict=True)):
    _, run = bundle.load(path)
    notes += outcomes.from_bytes(run.pop("notes"))
    run["ends"] += key_at
    run["runs"] = np.full(head["photos"], index)
    keys = run.pop("keys")
    found["keys"][key_at : key_at + len(keys)] = keys
    for name, array in run.items():
      found[name][at : at + len(array)] = array
    at, key_at = at + head["photos"], key_at + len(keys)
  return found, notes


def read_records(
  paths: list[Path], runs: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
) -> Iterator[bytes]:
  """Records `[n]` in the order asked for, read in the order in which they lie.

  All are read now, into memory that the next call takes for its own.
  """
  if not len(runs):  # All were rejected.
    return iter(())
  order = np.lexsort((offsets, runs))
  run, start = runs[order], offsets[order]
  stop = start + lengths[order]
  # A piece ends where the next record is of another run, or far away.
  begins = np.ones(len(order), bool)
  begins[1:] = (run[1:] != run[:-1]) | (start[1:] - stop[:-1] > _GAP)
  firsts = np.flatnonzero(begins)
  lasts = np.append(firsts[1:], len(order)) - 1
  sizes = stop[lasts] - start[firsts]
  bases = np.cumsum(sizes) - sizes
  view = _room(int(sizes.sum()))
  for first, base, size in zip(firsts, bases.tolist(), sizes.tolist(), strict=True):
    _read_into(paths[run[first]], int(start[first]), view[base : base + size])
  places = np.empty(len(order), np.int64)
  places[order] = start + np.repeat(bases - start[firsts], lasts - firsts + 1)
  spans = zip(places.tolist(), (places + lengths).tolist(), strict=True)
  return (bytes(view[at:end]) for at, end in spans)


def _room(size: int) -> memoryview:
  global _arena
  if len(_arena) < size:
    _arena = np.empty(size, np.uint8)
  return _arena.data


def _write(path: Path, pieces: list[memoryview]) -> None:
  with path.open("wb", buffering=0) as file:
    some: list[memoryview] = []
    size = 0
    for piece in pieces:
      if some and (size + len(piece) > _MOST_BYTES or len(some) == _MOST_PIECES):
        _write_all(file, some, size)
        some, size = [], 0
      some.append(piece)
      size += len(piece)
    if some:
      _write_all(file, some, size)


def _write_all(file: io.FileIO, pieces: list[memoryview], size: int) -> None:
  written = os.writev(file.fileno(), pieces)
  if written < size:  # A full disk takes a part, then nothing.
    rest = memoryview(b"".join(pieces))[written:]
    while rest:
      rest = rest[file.write(rest) :]


def _read_into(path: Path, start: int, view: memoryview) -> None:
  with path.open("rb", buffering=0) as file:
    file.seek(start)
    got = 0
    while got < len(view):
      count = file.readinto(view[got:])
      if not count:
        raise OSError(f"{path} ends at byte {start + got:,}: remove it")
      got += count

"""The external shuffle: sources -> sorted runs on disk -> the records of a shard.

A run is a file of records, sorted by their places in the shuffle, and a side file with
a row for each. Runs are written in sequence and read in a few pieces per shard, so a
disk hardly seeks. What is packed does not depend on which photos share a run.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from im21k import files
from im21k.dataset import records
from im21k.packing import disk, outcomes, repair, run_files, scratch, workers
from im21k.packing.photo_index import placer
from im21k.packing.selection import NO_CLASS, Selection
from im21k.photos.sources import Photo

_GAP = 1 << 20  # bytes; a disk reads over them in less time than it seeks
# Buffer for records, reused by the next run or shard: allocating it again would take as
# long as reading its content.
_buffer = np.empty(0, np.uint8)


def write_runs(
  folder: Path,
  selection: Selection,
  limit: int,
  task: tuple[int, tuple[Any, ...], int],
) -> None:
  """Reads streams of photos into runs, resuming after those that exist.

  Args:
    folder: the scratch folder.
    selection: which photos to pack, with which label.
    limit: bytes of a run.
    task: number of the task, its streams, and the number of the source that all of
      them are of.
  """
  number, streams, part = task
  index = consumed = 0
  while (path := run_files.run_path(folder, number, index)).exists():
    head = scratch.load_head(path)
    consumed, index = head["consumed"], index + 1
    if head["last"]:
      return
  everything = itertools.chain.from_iterable(stream.photos() for stream in streams)
  run, counter = _Run(selection, limit, part), workers.PhotoCounter()
  for photo in itertools.islice(everything, consumed, None):
    rejected = len(run.rejections)
    if not run.add(photo):
      run.save(run_files.run_path(folder, number, index), consumed, False)
      index, run, rejected = index + 1, _Run(selection, limit, part), 0
      run.add(photo)
    consumed += 1
    counter.add(len(photo.data), len(run.rejections) > rejected)
  counter.flush()
  run.save(run_files.run_path(folder, number, index), consumed, True)


class _Run:
  """The photos of a run: their records in the buffer, and a row for each."""

  def __init__(self, selection: Selection, limit: int, part: int):
    self._selection, self._limit, self._size = selection, limit, 0
    self._part = part
    self._synsets, self._place = tuple(selection.labels), placer(selection.seed)
    self._rows: list[tuple[bytes, bytes, int, bytes, int, int, int]] = []
    self.rejections: list[outcomes.Rejection] = []
    self.skipped: Counter[str] = Counter()

  def add(self, photo: Photo) -> bool:
    """Adds a photo; False if there is no room for it."""
    label = None
    if photo.synset:
      label = self._selection.label(photo.synset, photo.key)
      if label is None and not photo.loss:
        self.skipped[photo.synset] += 1
        return True
    key = photo.key.encode("utf-8", "surrogateescape")
    start, size, digest, kinds = self._size, 0, bytes(16), 0
    try:
      if photo.problem:
        raise repair.Rejected(*photo.problem, photo.loss)
      if label is None:
        raise repair.Rejected("unreadable", NO_CLASS)
      jpeg, kinds, digest = self._selection.prepare(photo.data)
    except repair.Rejected as error:
      synset = photo.synset if label is None else self._synsets[label]
      self.rejections.append(outcomes.rejection(key, synset, error))
      if photo.loss or label is None:
        return True  # Not a photo of the class list, so it gets no row.
    else:
      head = records.head(key, label)
      size = len(head) + len(jpeg)
      if self._size + size > self._limit and self._size:
        return False
      view = _reserved(max(self._limit, size))
      view[start : start + len(head)] = head
      view[start + len(head) : start + size] = jpeg
      self._size += size
    assert label is not None
    self._rows.append((self._place(key), key, label, digest, kinds, start, size))
    return True

  def save(self, path: Path, consumed: int, last: bool) -> None:
    """Writes the records in the order of their places, then the side file.

    Args:
      path: path of the side file.
      consumed: number of photos of the task in this run and those before it.
      last: whether the task ends with this run.
    """
    columns = list(zip(*self._rows, strict=True)) or [()] * 7
    places = np.frombuffer(b"".join(columns[0]), "<u8").reshape(-1, 2)
    order = np.argsort(places[:, 0], kind="stable")
    starts, lengths = (np.array(columns[i], np.int64)[order] for i in (5, 6))
    bin_path = path.with_suffix(".bin")
    view = _buffer.data
    with files.whole(bin_path) as aside, workers.disk_lock():
      spans = zip(starts.tolist(), lengths.tolist(), strict=True)
      disk.write_pieces(aside, [view[at : at + size] for at, size in spans if size])
    keys = [columns[1][row] for row in order.tolist()]
    head = {
      "consumed": consumed,
      "last": last,
      "part": self._part,
      "photos": len(keys),
      "key_bytes": sum(map(len, keys)),
      "skipped": self.skipped,
    }
    arrays: dict[str, np.ndarray] = {
      "keys": np.frombuffer(b"".join(keys), np.uint8),
      "ends": np.cumsum([len(key) for key in keys], dtype=np.int64),
      "labels": np.array(columns[2], np.int32)[order],
      "places": places[order],
      "digests": np.frombuffer(b"".join(columns[3]), "<u8").reshape(-1, 2)[order],
      "kinds": np.array(columns[4], np.uint32)[order],
      "offsets": np.cumsum(lengths) - lengths,
      "lengths": lengths.astype(np.int32),
      "rejections": outcomes.to_bytes(self.rejections),
    }
    scratch.save(path, head, arrays)


def read_records(
  paths: list[Path], runs: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
) -> Iterator[bytes]:
  """Records of a shard, read in the order in which they are on the disk.

  All are read now, into a buffer that the next call reuses.

  Args:
    paths: the files of records of all runs.
    runs, offsets, lengths: run, offset and bytes of each record `[n]`.

  Returns:
    The records in the order of the arguments.

  Raises:
    OSError: a file is shorter than its side file says.
  """
  if not len(runs):  # All were rejected.
    return iter(())
  order = np.lexsort((offsets, runs))
  run, start = runs[order], offsets[order]
  stop = start + lengths[order]
  # A piece ends where the next record is in another run or beyond a gap.
  begins = np.ones(len(order), bool)
  begins[1:] = (run[1:] != run[:-1]) | (start[1:] - stop[:-1] > _GAP)
  firsts = np.flatnonzero(begins)
  lasts = np.append(firsts[1:], len(order)) - 1
  sizes = stop[lasts] - start[firsts]
  bases = np.cumsum(sizes) - sizes
  view = _reserved(int(sizes.sum()))
  for first, base, size in zip(firsts, bases.tolist(), sizes.tolist(), strict=True):
    disk.read_into(paths[run[first]], int(start[first]), view[base : base + size])
  places = np.empty(len(order), np.int64)
  places[order] = start + np.repeat(bases - start[firsts], lasts - firsts + 1)
  spans = zip(places.tolist(), (places + lengths).tolist(), strict=True)
  return (bytes(view[at:end]) for at, end in spans)


def _reserved(size: int) -> memoryview:
  global _buffer
  if len(_buffer) < size:
    _buffer = np.empty(size, np.uint8)
  return _buffer.data

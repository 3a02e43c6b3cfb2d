"""Records -> a shard, whole or not at all; then a side file tells that it is finished.

A shard is written below DESTINATION/.packing, so that a killed job leaves nothing
outside, and moved to DESTINATION when it is on the disk.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from im21k import files
from im21k.dataset import records
from im21k.packing import bundle, external_shuffle, outcomes, repair, workers
from im21k.packing.outcomes import Note, Outcomes
from im21k.packing.split import Task

STATE = ".packing"  # folder below the destination, gone when all is packed


def write_direct(
  root: Path, destination: Path, choice: external_shuffle.Choice, task: Task
) -> None:
  """Writes a shard from photos that are files, read in its order."""
  kept: list[tuple[int, int, bytes]] = []
  notes: list[Note] = []
  checksum = records.Checksum()
  encoded = _direct(root, choice, task, kept, notes, checksum)
  shard = write(destination, task.name, encoded, checksum)
  labels, kinds, digests = zip(*kept, strict=True) if kept else ((), (), ())
  per_photo = Outcomes(
    np.array(labels, np.int32),
    np.array(kinds, np.uint32),
    np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2),
    notes,
  )
  finished(destination, shard, per_photo)


def write_external(bins: list[Path], destination: Path, task: tuple) -> None:
  """Writes a shard from sorted runs: name, and run, offset and length of its records.

  Reading and writing take turns at the disk of their own: neither is long, and both
  are sequential as long as nobody else disturbs them.
  """
  name, *where = task
  with workers.disk():
    encoded = external_shuffle.read_records(bins, *where)
  with workers.disk():
    checksum = records.Checksum()
    shard = write(destination, name, _counted(encoded, checksum), checksum)
  finished(destination, shard, None)


def write(
  destination: Path,
  name: str,
  encoded: Iterable[bytes],
  checksum: records.Checksum,
) -> records.Shard:
  """Writes records, which add themselves to the checksum when they are asked for.

  Raises:
    OSError: the disk is full, or a photo cannot be read.
  """
  count = 0
  with files.whole(destination / name, destination / STATE) as aside:
    with _writer(aside) as writer:
      for count, record in enumerate(encoded, 1):  # noqa: B007
        writer.write(record)
    size = aside.stat().st_size
  return records.Shard(name, count, size, checksum.hexdigest())


def side(destination: Path, shard: str) -> Path:
  """The file that is there when the shard is."""
  return destination / STATE / f"{shard}.done"


def finished(
  destination: Path, shard: records.Shard, per_photo: Outcomes | None
) -> None:
  """Tells that a shard is finished, and what became of its photos."""
  arrays = per_photo.arrays() if per_photo else {}
  bundle.save(side(destination, shard.name), dataclasses.asdict(shard), **arrays)


def load_side(destination: Path, name: str) -> tuple[records.Shard, Outcomes | None]:
  """The inverse of `finished`."""
  told, arrays = bundle.load(side(destination, name))
  per_photo = Outcomes.of(arrays) if arrays else None
  return records.Shard(**told), per_photo


def _direct(
  root: Path,
  choice: external_shuffle.Choice,
  task: Task,
  kept: list[tuple[int, int, bytes]],
  notes: list[Note],
  checksum: records.Checksum,
) -> Iterator[bytes]:
  folder, synsets = os.path.join(os.fsencode(root), b""), tuple(choice.labels)
  tally = workers.Tally()
  for key, label in zip(task.keys, task.labels.tolist(), strict=True):
    data = b""
    try:
      data = files.read(folder + key)
      jpeg, kinds, digest = choice.prepared(data)
    except (repair.Rejected, OSError) as error:
      notes.append(outcomes.note(key, synsets[label], error))
      tally.add(len(data), rejected=True)
    else:
      kept.append((label, kinds, digest))
      tally.add(len(data))
      head = records.head(key, label)
      checksum.add(head, digest if jpeg is data else records.digest(jpeg))
      yield head + jpeg
  tally.tell()


def _counted(encoded: Iterable[bytes], checksum: records.Checksum) -> Iterator[bytes]:
  tally = workers.Tally()
  for record in encoded:
    tally.add(len(record))
    checksum.add_record(record)
    yield record
  tally.tell()


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[ArrayRecordWriter]:
  """A writer that is closed at the end, with errors such as a full disk as OSError."""
  try:
    writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
    yield writer
    writer.close()
  except RuntimeError as error:
    raise OSError(str(error)) from error

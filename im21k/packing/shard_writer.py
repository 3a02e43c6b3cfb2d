"""Records -> a shard, written atomically, and a side file that says it is complete.

A shard is written in the scratch folder, so that a killed run leaves nothing outside,
and moved to the destination when its bytes are on the disk.
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
from im21k.dataset.manifest import Shard
from im21k.packing import disk, external_shuffle, outcomes, repair, scratch, workers
from im21k.packing.outcomes import Outcomes, Rejection
from im21k.packing.selection import Selection
from im21k.packing.shard_plan import ShardTask
from im21k.photos import photo_file

_DONE = ".done"


def write_direct(
  roots: tuple[tuple[Path, int], ...],
  destination: Path,
  selection: Selection,
  task: ShardTask,
) -> None:
  """Writes a shard from photos that are files, read in its order; see `paths`."""
  if side_file(destination, task.name).exists():
    return  # An engine runs a task again whose worker it has lost.
  kept: list[tuple[int, int, bytes]] = []
  rejections: list[Rejection] = []
  checksum = records.Checksum()
  encoded = _read_direct(
    paths(roots, task), selection, task, kept, rejections, checksum
  )
  shard = write(destination, task.name, encoded, checksum)
  labels, kinds, digests = zip(*kept, strict=True) if kept else ((), (), ())
  per_photo = Outcomes(
    np.array(labels, np.int32),
    np.array(kinds, np.uint32),
    np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2),
    rejections,
  )
  save_side_file(destination, shard, per_photo)


def write_external(
  bins: list[Path],
  destination: Path,
  task: tuple[str, np.ndarray, np.ndarray, np.ndarray],
) -> None:
  """Writes a shard from sorted runs.

  Reading and writing lock the disk one after the other: both are short, and sequential
  while no other worker uses the disk.

  Args:
    bins: the files of records of all runs.
    destination: folder for the shard.
    task: the shard's name, and run, offset and length `[n]` of each of its records.
  """
  name, *where = task
  if side_file(destination, name).exists():
    return
  with workers.disk_lock():
    encoded = external_shuffle.read_records(bins, *where)
  with workers.disk_lock():
    checksum = records.Checksum()
    shard = write(destination, name, _counted(encoded, checksum), checksum)
  save_side_file(destination, shard, None)


def write(
  destination: Path,
  name: str,
  encoded: Iterable[bytes],
  checksum: records.Checksum,
) -> Shard:
  """Writes a shard.

  Args:
    destination: folder for the shard.
    name: its file name.
    encoded: its records; their iterator adds each to the checksum.
    checksum: the checksum of the records.

  Raises:
    OSError: the disk is full, or a photo cannot be read.
  """
  count = 0
  with files.whole(destination / name, destination / scratch.FOLDER) as aside:
    with _writer(aside) as writer:
      for count, record in enumerate(encoded, 1):  # noqa: B007
        writer.write(record)
    size = aside.stat().st_size
  return Shard(name, count, size, checksum.hexdigest())


def side_file(destination: Path, shard: str) -> Path:
  """Path of the side file that exists when the shard is complete."""
  return destination / scratch.FOLDER / f"{shard}{_DONE}"


def done(destination: Path) -> set[str]:
  """Names of the complete shards."""
  # Listing a folder of NFS shows what other machines have just written.
  names = os.listdir(destination / scratch.FOLDER)
  return {name.removesuffix(_DONE) for name in names if name.endswith(_DONE)}


def save_side_file(destination: Path, shard: Shard, per_photo: Outcomes | None) -> None:
  """Records that a shard is complete, and the outcomes of its photos."""
  arrays = per_photo.arrays() if per_photo else {}
  scratch.save(side_file(destination, shard.name), dataclasses.asdict(shard), arrays)


def load_side_file(destination: Path, name: str) -> tuple[Shard, Outcomes | None]:
  """The inverse of `save_side_file`."""
  shard, arrays = scratch.load(side_file(destination, name))
  per_photo = Outcomes.of(arrays) if arrays else None
  return Shard(**shard), per_photo


def paths(roots: tuple[tuple[Path, int], ...], task: ShardTask) -> list[bytes]:
  """Path of each photo of a shard.

  Args:
    roots: of each source the folder of its photos, and how many bytes at the beginning
      of a key are no part of the path in it.
    task: the shard.
  """
  folders = [(os.path.join(os.fsencode(root), b""), skip) for root, skip in roots]
  if task.parts is None:
    ((folder, skip),) = folders
    assert not skip
    return [folder + key for key in task.keys]
  found = []
  for key, part in zip(task.keys, task.parts.tolist(), strict=True):
    folder, skip = folders[part]
    found.append(folder + key[skip:])
  return found


def size_of(roots: tuple[tuple[Path, int], ...], task: ShardTask) -> int:
  """Bytes of the files of a shard's photos; see `paths`."""
  return disk.size_of(paths(roots, task))


def _read_direct(
  files_of: list[bytes],
  selection: Selection,
  task: ShardTask,
  kept: list[tuple[int, int, bytes]],
  rejections: list[Rejection],
  checksum: records.Checksum,
) -> Iterator[bytes]:
  synsets = tuple(selection.labels)
  counter = workers.PhotoCounter()
  labels = task.labels.tolist()
  for path, key, label in zip(files_of, task.keys, labels, strict=True):
    data = b""
    try:
      data = photo_file.read(path)
      jpeg, kinds, digest = selection.prepare(data)
    except (repair.Rejected, OSError) as error:
      rejections.append(outcomes.rejection(key, synsets[label], error))
      counter.add(len(data), rejected=True)
    else:
      kept.append((label, kinds, digest))
      counter.add(len(data))
      head = records.head(key, label)
      checksum.add(head, digest if jpeg is data else records.digest(jpeg))
      yield head + jpeg
  counter.flush()


def _counted(encoded: Iterable[bytes], checksum: records.Checksum) -> Iterator[bytes]:
  counter = workers.PhotoCounter()
  for record in encoded:
    counter.add(len(record))
    checksum.add_record(record)
    yield record
  counter.flush()


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[ArrayRecordWriter]:
  """A writer that is closed at the end; an error such as a full disk is an OSError."""
  try:
    writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
    yield writer
    writer.close()
  except RuntimeError as error:
    raise OSError(str(error)) from error

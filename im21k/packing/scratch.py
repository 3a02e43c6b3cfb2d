"""The scratch folder of `pack`, from which a killed run is resumed.

DESTINATION/.packing holds runs of the external shuffle, temporary files, and side files
that say what is complete, until all shards are. A side file is a safetensors file with
a JSON object in its metadata.
"""

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from im21k import files, lock
from im21k.packing import source_state

FOLDER = ".packing"  # below the destination
_BEGUN = "begun.json"
# Of the files in the scratch folder; 1 had side files in a format of its own, 2 no list
# of the source's files.
_FORMAT = 3
_NUMBERED = re.compile("(run|train|eval|tasks)-[0-9]+-")


def save(path: Path, head: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
  """Writes a JSON object and arrays as one side file, atomically.

  Raises:
    OSError: the disk is full, or the scratch folder is gone: what it was for is done.
  """
  if not path.parent.is_dir():
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
  # safetensors ignores strides; and `save_file` raises no OSError on a full disk.
  contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
  data = safetensors.numpy.save(contiguous, {"head": json.dumps(head)})
  with files.whole(path) as aside:
    aside.write_bytes(data)


def load_head(path: Path) -> dict[str, Any]:
  """The JSON object of a side file.

  Raises:
    ValueError: the file is damaged.
  """
  with _opened(path) as file:
    return _head(file)


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """The JSON object and the arrays of a side file.

  Raises:
    ValueError: the file is damaged.
  """
  with _opened(path) as file:
    return _head(file), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _opened(path: Path) -> Any:
  try:
    return safetensors.safe_open(path, framework="numpy")
  except safetensors.SafetensorError as error:
    raise ValueError(
      f"{path} is damaged ({error}): remove {path.parent}, and pack again"
    ) from error


def _head(file: Any) -> dict[str, Any]:
  return dict(json.loads(file.metadata()["head"]))


@contextlib.contextmanager
def held(destination: Path, part: tuple[int, int]) -> Iterator[None]:
  """Holds the destination for this part of the work; folders left empty are removed.

  Raises:
    lock.Held: another process does this part.
  """
  folder = destination / FOLDER
  missing = [path for path in (destination, *destination.parents) if not path.exists()]
  number, parts = part
  what, name = "packing", "pack.lock"
  if parts > 1:
    what, name = f"packing part {number + 1}/{parts}", f"{number}-of-{parts}.lock"
  try:
    with lock.hold(destination, what, f"{FOLDER}/{name}"):
      yield
  finally:
    for path in (folder, *missing):
      with contextlib.suppress(OSError):
        path.rmdir()


def completing(destination: Path) -> contextlib.AbstractContextManager[None]:
  """Holds the destination for its last files: of several parts, one after the other."""
  return lock.hold(destination, "completing", f"{FOLDER}/complete.lock", wait=True)


def begin(
  destination: Path, run: dict[str, Any], part: tuple[int, int], listed: Path
) -> None:
  """Enters the scratch folder as the first, or one that the same run has begun.

  Args:
    destination: folder for the shards.
    run: source and options that must be the same when the run is resumed; `files` is
      the digest of the list of the source's files.
    part: zero-based number of the part of the work to do, and the number of parts.
    listed: that list, which is moved into the scratch folder.

  Raises:
    FileExistsError: the folder is that of another run, or of another version of im21k,
      or the source is not what it was.
  """
  folder = destination / FOLDER
  run = {"format": _FORMAT, **run}
  if begun(destination):
    _check_same(destination, run, listed)
  os.replace(listed, _list_path(destination, run["files"]))
  remove_leftovers(destination, part)
  files.create_text(folder / _BEGUN, json.dumps(run) + "\n")
  # Of parts that begin together, the first decides.
  _check_same(destination, run, _list_path(destination, run["files"]))


def remove_leftovers(destination: Path, part: tuple[int, int]) -> None:
  """Removes the temporary files of this part's workers, which have ended."""
  files.remove_leftovers(destination / FOLDER, lambda name: _is_of_part(name, *part))


def difference(destination: Path, listed: Path, digest: str) -> str | None:
  """What differs between the source as it was and a list of now; None for nothing."""
  before = begun(destination).get("files", digest)
  if before == digest:
    return None
  return source_state.difference(_list_path(destination, before), listed)


def begun(destination: Path) -> dict[str, Any]:
  """Source and options of the run that created the scratch folder; or nothing."""
  path = destination / FOLDER / _BEGUN
  if not path.exists():
    return {}
  return dict(json.loads(path.read_text(encoding="utf-8")))


def part_number(name: str) -> int:
  """Number in the name of a run or a shard; modulo the parts, it says whose it is."""
  return int(name.split("-")[1])


def _list_path(destination: Path, digest: str) -> Path:
  return destination / FOLDER / f"files-{digest}.gz"


def _check_same(destination: Path, run: dict[str, Any], listed: Path) -> None:
  before = begun(destination)
  if before.get("format") != _FORMAT:
    raise FileExistsError(
      f"{destination / FOLDER} was written by another version of im21k and cannot be "
      f"resumed: remove {destination}, and pack again"
    )
  different = [key for key in run if before.get(key) != run[key]]
  if different == ["files"]:
    raise FileExistsError(
      f"{run['source']} is not what it was when packing into {destination} began: "
      f"{difference(destination, listed, run['files'])}; restore it with its times, or "
      f"remove {destination} and pack again"
    )
  if different:
    raise FileExistsError(
      f"{destination} holds the beginning of a data set packed in another way "
      f"({', '.join(different)} differ): give the same options, or remove "
      f"{destination}"
    )


def _is_of_part(name: str, part: int, parts: int) -> bool:
  """Whether this part alone writes a file of the scratch folder."""
  if parts == 1:
    return True
  return _NUMBERED.match(name) is not None and part_number(name) % parts == part

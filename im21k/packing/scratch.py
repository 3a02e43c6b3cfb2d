"""The scratch folder of `pack`, from which a killed run is resumed.

DESTINATION/.packing holds runs of the external shuffle, temporary files, and side files
that say what is complete, until all shards are. A side file is a safetensors file with
a JSON object in its metadata.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from im21k import files

FOLDER = ".packing"  # below the destination
_BEGUN = "begun.json"
# Of the files in the scratch folder; 1 had side files in a format of its own.
_FORMAT = 2
_NUMBERED = re.compile("(run|train|eval)-[0-9]+-")


def save(path: Path, head: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
  """Writes a JSON object and arrays as one side file, atomically.

  Raises:
    OSError: the disk is full.
  """
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


def begin(destination: Path, run: dict[str, Any], part: tuple[int, int]) -> None:
  """Creates the scratch folder, or enters one that the same run has created.

  Args:
    destination: folder for the shards.
    run: source and options that must be the same when the run is resumed.
    part: zero-based number of the part of the work to do, and the number of parts.

  Raises:
    FileExistsError: the folder is that of another run, or of another version of im21k.
  """
  folder = destination / FOLDER
  run = {"format": _FORMAT, **run}
  if begun(destination):
    _check_same(destination, run)
  folder.mkdir(parents=True, exist_ok=True)
  files.remove_leftovers(folder, lambda name: _is_of_part(name, *part))
  files.create_text(folder / _BEGUN, json.dumps(run) + "\n")
  _check_same(destination, run)  # Of parts that begin together, the first decides.


def begun(destination: Path) -> dict[str, Any]:
  """Source and options of the run that created the scratch folder; or nothing."""
  path = destination / FOLDER / _BEGUN
  if not path.exists():
    return {}
  return dict(json.loads(path.read_text(encoding="utf-8")))


def part_number(name: str) -> int:
  """Number in the name of a run or a shard; modulo the parts, it says whose it is."""
  return int(name.split("-")[1])


def _check_same(destination: Path, run: dict[str, Any]) -> None:
  before = begun(destination)
  if before.get("format") != _FORMAT:
    raise FileExistsError(
      f"{destination / FOLDER} was written by another version of im21k and cannot be "
      f"resumed: remove {destination}, and pack again"
    )
  different = [key for key in run if before.get(key) != run[key]]
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

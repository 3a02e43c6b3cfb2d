"""Some JSON and some arrays in one file, whole or not at all.

A line of JSON tells what there is; the arrays' bytes follow. numpy's own .npz would
take two milliseconds a file, more than all else that a shard takes once.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from im21k import files


def save(path: Path, head: dict[str, Any], **arrays: np.ndarray) -> None:
  """Writes `head` and the arrays."""
  shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
  with files.whole(path) as aside, aside.open("wb") as file:
    file.write(json.dumps({"head": head, "arrays": shapes}).encode() + b"\n")
    for array in arrays.values():
      file.write(array.tobytes())


def head(path: Path) -> dict[str, Any]:
  """The JSON alone."""
  with path.open("rb") as file:
    return json.loads(file.readline())["head"]


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """What was saved; ValueError if the file is not whole."""
  with path.open("rb") as file:
    told = json.loads(file.readline())
    arrays = {}
    for name, (kind, shape) in told["arrays"].items():
      count = int(np.prod(shape, dtype=np.int64))
      array = np.fromfile(file, np.dtype(kind), count)
      if len(array) < count:
        raise ValueError(f"{path} ends early: remove it")
      arrays[name] = array.reshape(shape)
  return told["head"], arrays

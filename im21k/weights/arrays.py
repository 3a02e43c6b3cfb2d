"""A safetensors file from anywhere -> arrays that fit the model, each byte read once.

The header is checked against the model and the size of the file before memory is taken
for arrays. What is hashed is what is returned: the file may change in between.
"""

import hashlib
import io
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from im21k import documents, files
from im21k.fields import Fields

REMEDY = "copy the folder again, or export again"
_TYPES: dict[str, npt.DTypeLike] = {
  "F16": np.float16, "BF16": jnp.bfloat16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip
_NAMED = 5  # Arrays in an error message; another width changes all of hundreds.
_LARGEST_HEADER = 2**22  # Bytes; that of 416 arrays has 50,000.
_LARGEST = 2**31  # Bytes; the released model of 21,841 classes has 134 million.
_MOST_AXES = 32


def read(
  path: Path, expected: Mapping[str, tuple[int, ...]], checksum: str
) -> dict[str, npt.NDArray[Any]]:
  """The arrays of a safetensors file by name.

  Args:
    path: the file.
    expected: shapes by name.
    checksum: SHA-256 of the whole file, hexadecimal.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged or incomplete, has another checksum, or holds arrays that
      do not fit: missing, extra, of another shape or no floating-point type, not
      finite, or negative variances.
  """
  with files.open_regular(path) as file:
    head, header = _header(path, file)
    layout = _layout(path, header, expected)
    whole = len(head) + sum(_bytes(kind, shape) for _, kind, shape in layout)
    if (size := os.fstat(file.fileno()).st_size) != whole:
      raise _damaged(path, f"it has {size:,} bytes, but its header says {whole:,}")
    digest = hashlib.sha256(head)
    arrays = {}
    for name, kind, shape in layout:
      arrays[name] = np.empty(shape, kind)
      data: Any = arrays[name].reshape(-1).view(np.uint8)  # The same memory.
      if file.readinto(data) != data.size:
        raise _damaged(path, "it ended while it was read")
      digest.update(data)
  if digest.hexdigest() != checksum:
    raise ValueError(
      f"{path} is not what model.json was written for (its checksum differs): {REMEDY}"
    )
  if wrong := [f"{n} {reason}" for n in arrays if (reason := fault(n, arrays[n]))]:
    raise ValueError(f"{path}: {listed(wrong)}; train again, or take an earlier export")
  return arrays


def fault(name: str, array: npt.NDArray[Any]) -> str | None:
  """Why no model can compute with an array of this name; None: it can."""
  with np.errstate(all="ignore"):
    total = array.sum(dtype=np.promote_types(array.dtype, np.float32))
    # A sum is one pass and no memory; a finite array may have an infinite one.
    if not np.isfinite(total) and not np.isfinite(array).all():
      return "holds NaN or infinity"
  if name.endswith(("/var", "_moving_var")) and array.size and array.min() < 0:
    return "holds a negative variance"
  return None


def check_shapes(
  where: object,
  shapes: Mapping[str, tuple[int, ...]],
  expected: Mapping[str, tuple[int, ...]],
  remedy: str = REMEDY,
) -> None:
  """ValueError, naming the first of them, if arrays are missing, extra or misshapen."""
  wrong = [f"{name} is missing" for name in sorted(expected.keys() - shapes.keys())]
  wrong += [
    f"{_shown(name)} is unknown" for name in sorted(shapes.keys() - expected.keys())
  ]
  wrong += [
    f"{name} is {shapes[name]}, not {expected[name]}"
    for name in sorted(expected.keys() & shapes.keys())
    if shapes[name] != expected[name]
  ]
  if wrong:
    raise ValueError(f"{where} does not fit the model: {listed(wrong)}: {remedy}")


def listed(wrong: list[str]) -> str:
  """The first five, and how many there are."""
  more = f"; … ({len(wrong):,} in all)" if len(wrong) > _NAMED else ""
  return "; ".join(wrong[:_NAMED]) + more


def _header(path: Path, file: io.BufferedReader) -> tuple[bytes, Fields]:
  """The bytes before the arrays, and the JSON object in them."""
  prefix = file.read(8)
  if len(prefix) < 8:
    raise _damaged(path, f"it has {len(prefix)} bytes")
  (length,) = struct.unpack("<Q", prefix)
  if length > _LARGEST_HEADER:
    raise _damaged(path, f"a header of {length:,} bytes")
  if len(text := file.read(length)) < length:
    raise _damaged(path, "it ends within its header")
  try:
    document = documents.parse(text)
  except ValueError as error:
    raise _damaged(path, f"its header: {error}") from error
  return prefix + text, Fields(document, path, REMEDY)


def _layout(
  path: Path, header: Fields, expected: Mapping[str, tuple[int, ...]]
) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
  """Name, type and shape of each array in the order of the file, without gaps."""
  described = {
    name: header.object(name) for name in header.document if name != "__metadata__"
  }
  shapes = {name: _shape(fields) for name, fields in described.items()}
  check_shapes(path, shapes, expected)
  layout = []
  for name, fields in described.items():
    kind = np.dtype(_TYPES[fields.text("dtype", one_of=_TYPES)])
    begin, end = _whole_numbers(fields, "data_offsets", 2)
    layout.append((begin, end, name, kind))
    if end - begin != _bytes(kind, shapes[name]):
      raise fields.error("data_offsets", f"do not fit {kind} {shapes[name]}")
    fields.done()
  layout.sort()
  ends = [0, *(end for _, end, _, _ in layout)]
  for (begin, _, name, _), before in zip(layout, ends, strict=False):
    if begin != before:
      raise _damaged(path, f"{name} begins at byte {begin:,}, not {before:,}")
  if ends[-1] > _LARGEST:
    raise ValueError(f"{path}: {ends[-1]:,} bytes are more than {_LARGEST:,}")
  return [(name, kind, shapes[name]) for _, _, name, kind in layout]


def _shape(fields: Fields) -> tuple[int, ...]:
  return _whole_numbers(fields, "shape", None)


def _whole_numbers(fields: Fields, name: str, count: int | None) -> tuple[int, ...]:
  """A list of numbers below 2⁶³; of any count up to numpy's if None."""
  values = fields.any(name)
  if (
    not isinstance(values, list)
    or len(values) > _MOST_AXES
    or count not in (None, len(values))
    or not all(type(value) is int and 0 <= value < 2**63 for value in values)
  ):
    raise fields.error(name, f"is no list of {count or 'few'} whole numbers")
  return tuple(values)


def _bytes(kind: np.dtype[Any], shape: tuple[int, ...]) -> int:
  return math.prod(shape) * kind.itemsize


def _shown(name: str) -> str:
  """A stranger's name of an array: short, on one line."""
  return name if name.isprintable() and len(name) < 120 else json.dumps(name[:80])


def _damaged(path: Path, reason: str) -> ValueError:
  return ValueError(f"{path} is damaged: {reason}: {REMEDY}")

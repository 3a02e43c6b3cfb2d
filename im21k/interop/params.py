"""MXNet's .params files, lists of named arrays: versions V0 to V3 in, V2 out.

Little-endian: `u64 0x112 | u64 0 | u64 n | n arrays | u64 n | n × (u64 length, name)`.
An array begins with a word that states its version; the files of 2015 (V0) have none,
and begin with the number of dimensions.
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from im21k import files

_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")
_MOST_DIMENSIONS = 32
_MOST_ELEMENTS = 2**56
_LONGEST_NAME = 4096


def read(path: Path) -> dict[str, np.ndarray]:
  """All arrays by name, such as `arg:conv_conv1_weight`, in the order of the file.

  Raises:
    ValueError: the file is no such list; names file, offset and reason.
  """
  with path.open("rb") as file:
    return _Reader(path, file).arrays()


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes a V2 file, whole or not at all. ValueError: a type that MXNet lacks."""
  with files.whole(path) as aside, aside.open("wb") as file:
    file.write(struct.pack("<QQQ", _MAGIC, 0, len(arrays)))
    for name, array in arrays.items():
      array = np.asarray(array)
      plain = array.dtype.newbyteorder("<").str.replace("|", "").replace("<u1", "u1")
      if plain not in _TYPES:
        raise ValueError(f"{name} is {array.dtype}, which MXNet's files do not hold")
      if not array.ndim:
        raise ValueError(f"{name} has no dimensions, and MXNet's V2 has no such arrays")
      head = struct.pack("<Iii", _V2, 0, array.ndim)
      file.write(head + struct.pack(f"<{array.ndim}q", *array.shape))
      file.write(struct.pack("<iii", 1, 0, _TYPES.index(plain)))  # device: CPU 0
      file.write(np.ascontiguousarray(array, plain).tobytes())
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
      encoded = name.encode()
      file.write(struct.pack("<Q", len(encoded)) + encoded)


class _Reader:
  """A position in a file of known size."""

  def __init__(self, path: Path, file: BinaryIO):
    self.path, self.file = path, file
    self.size = os.fstat(file.fileno()).st_size

  def arrays(self) -> dict[str, np.ndarray]:
    magic, reserved, count = self.numbers("<QQQ", "the file's head")
    if (magic, reserved) != (_MAGIC, 0):
      raise self.error(0, f"this is not a list of arrays: it begins with {magic:#x}")
    # The least array has a head of 20 bytes and a name of 8.
    if count > self.size // 20:
      raise self.error(16, f"{count} arrays do not fit into {self.size} bytes")
    arrays = list(self.every(count))
    at = self.file.tell()
    (names,) = self.numbers("<Q", "the number of names")
    if names != count:
      raise self.error(at, f"{names} names for {count} arrays")
    named: dict[str, np.ndarray] = {}
    for array in arrays:
      at = self.file.tell()
      name = self.name()
      if name in named:
        raise self.error(at, f"two arrays are called {name!r}")
      named[name] = array
    if self.file.tell() != self.size:
      raise self.error(self.file.tell(), "there are more bytes after the last name")
    return named

  def every(self, count: int) -> Iterator[np.ndarray]:
    for index in range(count):
      yield self.array(f"array {index}")

  def array(self, what: str) -> np.ndarray:
    at = self.file.tell()
    (word,) = self.numbers("<I", what)
    if word in (_V2, _V3):
      storage, dimensions = self.numbers("<ii", what)
      if storage != 0:
        raise self.error(at + 4, f"{what} is sparse (storage {storage}); dense only")
      letter = "q"
    elif word == _V1:
      (dimensions,) = self.numbers("<I", what)
      letter = "q"
    else:
      dimensions, letter = word, "I"
    least = 0 if word == _V3 else 1
    if not least <= dimensions <= _MOST_DIMENSIONS:
      raise self.error(
        at, f"{what} has no known version and cannot have {dimensions} dimensions"
      )
    shape = self.numbers(f"<{dimensions}{letter}", f"{what}'s shape")
    # An empty array passes any check of size, but numpy multiplies its other sides.
    endless = 0 in shape and math.prod(filter(None, shape)) > _MOST_ELEMENTS
    if any(side < 0 for side in shape) or endless:
      raise self.error(at, f"{what} has the shape {shape}")
    _, _, code = self.numbers("<iii", f"{what}'s type")
    if not 0 <= code < len(_TYPES):
      raise self.error(self.file.tell() - 4, f"{what} has the unknown type {code}")
    kind = np.dtype(_TYPES[code])
    # Python's integers do not overflow, so this holds for any shape.
    size = math.prod(shape) * kind.itemsize
    data = self.bytes(size, f"{what} of shape {shape}")
    return np.frombuffer(data, kind).reshape(shape)

  def name(self) -> str:
    at = self.file.tell()
    (length,) = self.numbers("<Q", "a name's length")
    if length > _LONGEST_NAME:
      raise self.error(at, f"a name of {length} bytes")
    try:
      return self.bytes(length, "a name").decode()
    except UnicodeDecodeError:
      raise self.error(at + 8, "a name is no UTF-8") from None

  def numbers(self, form: str, what: str) -> tuple[Any, ...]:
    return struct.unpack(form, self.bytes(struct.calcsize(form), what))

  def bytes(self, count: int, what: str) -> bytes:
    at = self.file.tell()
    if count > self.size - at:
      raise self.error(
        at, f"{what} needs {count} bytes, but the file has {self.size - at} more"
      )
    data = self.file.read(count)
    if len(data) != count:
      raise self.error(at, f"{what} could not be read whole")
    return data

  def error(self, at: int, reason: str) -> ValueError:
    return ValueError(f"{self.path} at byte {at}: {reason}")

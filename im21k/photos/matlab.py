"""Fields of a struct array in a MATLAB file (version 5 to 7) -> values, row by row.

In: the bytes of a stranger's .mat, such as the development kit's `meta.mat`. Out:
numbers and texts of the fields that are asked for; everything else is passed over
unread. Nothing is made that is larger than `limit`, whatever sizes the file states.

Format: "MAT-File Format", MathWorks, "Level 5 MAT-File Format".
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_HEADER = 128
_LIMIT = 64 << 20  # bytes of an element when it is inflated
_MOST_ROWS = 1 << 20
_SMALLEST_ROW = 8  # bytes: the tag of an empty matrix
_COMPRESSED, _MATRIX = 15, 14  # types of elements
_STRUCT, _CHAR = 2, 4  # classes of matrices
_NUMBERS = {
  1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q",
}  # fmt: skip
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}

Value = int | float | str | None


class _Element(NamedTuple):
  """An element: its type, and its bytes."""

  kind: int
  data: memoryview


class _Matrix(NamedTuple):
  """A matrix: its class, number of items, name, and the elements of its content."""

  kind: int
  size: int
  name: str
  content: Iterator[_Element]


def struct_rows(
  data: bytes, name: str, fields: Sequence[str], limit: int = _LIMIT
) -> list[tuple[Value, ...]]:
  """The fields of each item of a struct array, in the file's order.

  Args:
    data: the file.
    name: the variable.
    fields: names of the fields that are wanted.
    limit: most bytes of a compressed element's content.

  Returns:
    A row for each item. A scalar is a number, a row of characters a text; an empty,
    longer or other value is None.

  Raises:
    ValueError: it is no such file, is cut or damaged, or has no such array or field;
      one line says which.
  """
  try:
    return _rows(data, name, fields, limit)
  except (struct.error, IndexError, StopIteration, UnicodeDecodeError, zlib.error):
    raise ValueError("it is damaged: an element in it is cut short") from None


def _rows(
  data: bytes, name: str, fields: Sequence[str], limit: int
) -> list[tuple[Value, ...]]:
  if data[:8] == b"\x89HDF\r\n\x1a\n" or data[:10] == b"MATLAB 7.3":
    raise ValueError("it is of MATLAB 7.3 (HDF5), not of version 5 to 7")
  order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER])
  if order is None:
    raise ValueError("it is no MATLAB file of version 5 to 7")
  for element in _elements(memoryview(data)[_HEADER:], order):
    if element.kind == _COMPRESSED:
      inflated = _inflated(element.data, limit)
      element = next(_elements(memoryview(inflated), order))
    if element.kind != _MATRIX:
      continue
    matrix = _matrix(element.data, order)
    if matrix is not None and matrix.name == name:
      return _items(matrix, name, fields, order, len(element.data))
  raise ValueError(f"it holds no variable {name!r}")


def _items(
  matrix: _Matrix, name: str, fields: Sequence[str], order: str, room: int
) -> list[tuple[Value, ...]]:
  if matrix.kind != _STRUCT:
    raise ValueError(f"its variable {name!r} is no array of structs")
  (length,) = struct.unpack(order + "i", next(matrix.content).data[:4])
  text = bytes(next(matrix.content).data)
  if not 0 < length <= 64:
    raise ValueError(f"field names of {length} bytes in {name!r}")
  names = [
    text[at : at + length].partition(b"\0")[0].decode("ascii", "replace")
    for at in range(0, len(text), length)
  ]
  missing = [field for field in fields if field not in names]
  if missing:
    raise ValueError(f"its {name!r} has no field {missing[0]!r}")
  # A file of this size cannot have more.
  most = min(_MOST_ROWS, room // (_SMALLEST_ROW * max(len(names), 1)))
  if matrix.size > most:
    raise ValueError(f"it is damaged: {matrix.size:,} rows in {name!r}")
  places = [names.index(field) for field in fields]
  rows = []
  for _ in range(matrix.size):
    cells = [next(matrix.content) for _ in names]
    rows.append(tuple(_value(cells[place], order) for place in places))
  return rows


def _value(element: _Element, order: str) -> Value:
  """A scalar or a text; None for anything else."""
  if element.kind != _MATRIX:
    raise ValueError(f"it is damaged: an element of type {element.kind} in a struct")
  matrix = _matrix(element.data, order)
  if matrix is None or not matrix.size:
    return None
  content = next(matrix.content)
  if matrix.kind == _CHAR and content.kind in _TEXTS:
    coding = _TEXTS[content.kind]
    if coding == "utf-16":
      coding += "-le" if order == "<" else "-be"
    return bytes(content.data).decode(coding)
  if matrix.size != 1 or content.kind not in _NUMBERS:
    return None
  number: int | float
  (number,) = struct.unpack_from(order + _NUMBERS[content.kind], content.data)
  is_whole = isinstance(number, float) and number.is_integer()
  return int(number) if is_whole else number


def _matrix(data: memoryview, order: str) -> _Matrix | None:
  """What a matrix is; None for the empty one."""
  if not len(data):
    return None
  content = _elements(data, order)
  (flags,) = struct.unpack(order + "I", next(content).data[:4])
  sizes = next(content).data
  if not 8 <= len(sizes) <= 256 or len(sizes) % 4:
    raise ValueError("it is damaged: a matrix without dimensions")
  size = 1
  for (count,) in struct.iter_unpack(order + "i", sizes):
    if count < 0:
      raise ValueError("it is damaged: a dimension below 0")
    size *= count
  name = bytes(next(content).data).decode("ascii", "replace")
  return _Matrix(flags & 0xFF, size, name, content)


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
  """The elements that follow each other; struct.error where one is cut."""
  at = 0
  while at < len(data):
    kind, size = struct.unpack_from(order + "II", data, at)
    if kind >> 16:  # A small one, whose data are in its tag.
      kind, size = kind & 0xFFFF, kind >> 16
      start, at = at + 4, at + 8
      if size > 4:
        raise struct.error
    else:
      start = at + 8
      at = start + size
      if kind != _COMPRESSED:
        at += -size % 8
    if start + size > len(data):
      raise struct.error
    yield _Element(kind, data[start : start + size])


def _inflated(data: memoryview, limit: int) -> bytes:
  inflate = zlib.decompressobj()
  found = inflate.decompress(data, limit)
  if inflate.unconsumed_tail:
    raise ValueError(f"an element of it is larger than {limit:,} bytes")
  if not inflate.eof:
    raise struct.error
  return found

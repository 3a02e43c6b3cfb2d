"""Files of classes <-> class lists: a text with one id a line, or a CSV.

A CSV begins with the header `id,name,under`; of `name` and `under` either or both may
be missing. A list of synsets is written as text, any other as CSV.
"""

import codecs
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from im21k.synsets import ids
from im21k.synsets.classes import ClassList

COLUMNS = ("id", "name", "under")
HEADER = ",".join(COLUMNS)
_LARGEST = 16 << 20  # bytes of a list; that of 21,841 names has 1 MB


def from_file(path: str | os.PathLike[str]) -> ClassList:
  """The class list in a file; its name is the file's stem.

  A text has one id a line in the order of the labels. What follows a synset id is
  ignored, so `n01440764 tench` is fine; so are blank lines and lines that begin with
  `#`. Where no line begins with a synset id, each is the id of an own class, spaces
  included. A list with both kinds is a CSV, as is one with names or with the synsets
  that own classes hang under; it ends with .csv, or its first line is a header of two
  columns at least.

  Raises:
    ValueError: not UTF-8, malformed or repeated ids, or none; says file and line.
  """
  path = Path(path)
  text = lines(path)
  header = _cells(text[0]) if text else []
  if path.suffix.lower() == ".csv" or (
    len(header) > 1 and "id" in header and set(header) <= {*COLUMNS}
  ):
    return _from_csv(path, text)
  entries = []
  for number, line in enumerate(text, 1):
    tokens = line.split()
    if tokens and not tokens[0].startswith("#"):
      entries.append((f"{path}, line {number}", tokens[0], line))
  is_own = not any(ids.is_synset(first) for _, first, _ in entries)
  if not is_own:
    for place, first, _ in entries:
      if not ids.is_synset(first):
        raise ValueError(
          f"{place}: {first[:80]!r} is not a synset id; those are n and 8 digits, such "
          f"as n01440764. A list with own classes too is a CSV with header {HEADER}"
        )
  chosen = [ids.normalized(line) if is_own else first for _, first, line in entries]
  return ClassList.checked(path.stem, str(path), chosen, [e[0] for e in entries])


def as_text(classes: ClassList) -> str:
  """What `from_file` reads back: one id a line for a list of synsets, else a CSV."""
  if classes.is_plain:
    return "\n".join(classes.synsets) + "\n"
  return as_csv(classes)


def as_csv(classes: ClassList) -> str:
  """The same with id, name and under of each class."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(COLUMNS)
  blank = ("",) * len(classes)
  names, under = classes.given_names or blank, classes.under or blank
  writer.writerows(zip(classes.synsets, names, under, strict=True))
  return text.getvalue()


def lines(path: Path) -> list[str]:
  """The lines of a small text in UTF-8, with a byte-order mark or without.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no regular file, too large or not UTF-8; says file and line.
  """
  if path.exists() and not path.is_file():  # A FIFO would be waited for.
    raise ValueError(f"{path} is not a regular file")
  with path.open("rb") as file:
    data = file.read(_LARGEST + 1)
  if len(data) > _LARGEST:
    raise ValueError(f"{path} has more than {_LARGEST:,} bytes, so it is no such list")
  decoded = []
  for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
    try:
      decoded.append(line.decode("utf-8"))
    except UnicodeDecodeError as error:
      raise ValueError(
        f"{path}, line {number}: not UTF-8 text ({error.reason})"
      ) from error
  return decoded


def _from_csv(path: Path, text: Sequence[str]) -> ClassList:
  header = _cells(text[0]) if text else []
  if "id" not in header or set(header) - {*COLUMNS} or len({*header}) < len(header):
    shown = text[0][:80] if text else ""
    raise ValueError(
      f"{path}, line 1: the header must be {HEADER}, with commas (name and under may "
      f"be left out), but is {shown!r}"
    )
  columns: dict[str, list[str]] = {name: [] for name in COLUMNS}
  places = []
  reader = csv.reader((f"{line}\n" for line in text), strict=True)
  try:
    for row in reader:
      if reader.line_num == 1 or not any(cell.strip() for cell in row):
        continue
      place = f"{path}, line {reader.line_num}"
      if len(row) != len(header):
        raise ValueError(
          f"{place}: {len(row)} cells, but the header has {len(header)}; write a cell "
          'with a comma in it as "a, b"'
        )
      places.append(place)
      for name in COLUMNS:
        cell = row[header.index(name)] if name in header else ""
        columns[name].append(ids.normalized(cell))
  except csv.Error as error:
    raise ValueError(f"{path}, line {reader.line_num}: no CSV ({error})") from error
  return ClassList.checked(
    path.stem, str(path), columns["id"], places, columns["name"], columns["under"]
  )


def _cells(line: str) -> list[str]:
  """The names in a header."""
  try:
    return [cell.strip().lower() for cell in next(csv.reader([line]), [])]
  except csv.Error:
    return []

"""Rows of scores <-> `evaluation.csv`, and lines about photos that do not count."""

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from im21k import files, synsets

CSV = "evaluation.csv"
_LARGEST = 2**24  # Bytes; a row has some 300.
_SHARE = re.compile(r"top_[0-9]+(_low|_high)?")
_MEND = "mend or remove that line"


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of an evaluation file, oldest first; none where there is no file.

  What is read is written back by `add_rows`: what it could not keep is refused.

  Raises:
    OSError: it cannot be read.
    ValueError: it is another file, which must not be written over, or damaged; names
      the line.
  """
  # A device or pipe may be written to, but not read first.
  if not (path.is_file() or path.is_dir()):
    return []
  with files.open_regular(path) as file:
    data = file.read(_LARGEST + 1)
  other = f"{path} is not a file of `im21k evaluate`: name another CSV file"
  if len(data) > _LARGEST:
    raise ValueError(other)
  # Spreadsheets begin UTF-8 with a byte-order mark.
  text = data.decode("utf-8-sig", "replace")
  reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
  try:
    columns = list(reader.fieldnames or ())
    if text and not {"date", "answers"} & {*columns}:
      raise ValueError(other)
    if text.encode() != data.removeprefix(codecs.BOM_UTF8):
      raise ValueError(f"{path} is not UTF-8: save it as UTF-8, or name another file")
    if len(columns) > len({*columns}):
      raise ValueError(f"{path}: two columns have one name: rename one")
    rows = []
    for row in reader:
      if reason := _fault(row):
        raise ValueError(f"{path}, line {reader.line_num}: {reason}: {_MEND}")
      rows.append(row)
  except csv.Error as error:
    where = f"{path}, line {reader.line_num + 1}"
    raise ValueError(f"{where}: no CSV ({error}): {_MEND}") from error
  return rows


def _fault(row: dict[Any, Any]) -> str | None:
  """What is wrong with a row: not a value for each column, or no number."""
  if None in row or None in row.values():
    return "not a value for each column"
  for name, value in row.items():
    limit = 1e12 if name == "images" else 1.0 if _SHARE.fullmatch(name) else None
    if value and limit and not _is_number(value, limit):
      return f"{name} is {value[:40]!r}, not a number from 0 to {limit:g}"
  return None


def _is_number(text: str, most: float) -> bool:
  try:
    return 0 <= float(text) <= most
  except ValueError:
    return False


def add_rows(path: Path, rows: list[dict[str, Any]]) -> None:
  """Appends rows; older ones with fewer columns keep their values."""
  files.write_text(path, as_csv([*read_rows(path), *rows]))


def as_csv(rows: list[dict[str, Any]]) -> str:
  """The text of a CSV file with all columns of all rows, those of the newest first."""
  columns = list(dict.fromkeys(name for row in reversed(rows) for name in row))
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def lines_about(
  unknown: Mapping[str, int], bad: Sequence[Mapping[str, str]], consequence: str
) -> list[str]:
  """Lines for people about photos that cannot be scored.

  Args:
    unknown: photos of classes that the weights do not know, by synset.
    bad: `photo` and `reason` of each that cannot be decoded or has no class.
    consequence: what happens to photos of unknown classes.
  """
  lines = []
  if unknown:
    names = synsets.ClassList("unknown", tuple(unknown)).names
    shown = [
      f"{s} {name} ({unknown[s]:,})" for s, name in zip(unknown, names, strict=True)
    ]
    lines.append(
      f"{sum(unknown.values()):,} photos of classes that the weights do not know "
      f"{consequence}: {_first(shown)}"
    )
  if bad:
    shown = [f"{one['photo']} ({one['reason']})" for one in bad]
    lines.append(
      f"{len(bad):,} photos cannot be scored and are left out: {_first(shown)}"
    )
  return lines


def as_rows(bad: Mapping[str, str]) -> list[dict[str, str]]:
  """`photo` and `reason` of each photo that cannot be decoded or has no class."""
  return [{"photo": key, "reason": reason} for key, reason in bad.items()]


def first_of(bad: Mapping[str, str]) -> str:
  """` (KEY: REASON)` of the first bad photo, for an error message; "" if none is."""
  return next((f" ({key}: {reason})" for key, reason in bad.items()), "")


def _first(shown: list[str]) -> str:
  return "; ".join(shown[:5]) + ("; …" if len(shown) > 5 else "")

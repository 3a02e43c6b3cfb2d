"""Rows of scores <-> `evaluation.csv`, and lines about photos that do not count."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from im21k import files, synsets, words
from im21k.loading.scoring import Item
from im21k.photos.photo import Loss

CSV = "evaluation.csv"
_LARGEST = 2**24  # Bytes; a row has some 300.
_SHARE = re.compile(r"top_[0-9]+(_low|_high)?")
_MEND = "mend or remove that line"
# Parts of the photos that were there, which sum to `photos`.
_COUNTED = {
  "scored": "scored",
  "used": "used",
  "unknown": "of unknown classes",
  "bad": "unreadable or without class",
  "left": "left over by whole batches",
}


class Bad(NamedTuple):
  """A photo that cannot be scored: its key, why, and what it has cost of an archive."""

  key: str
  reason: str
  loss: Loss | None = None


def bad_of(item: Item) -> Bad:
  """The row of an item that has an error."""
  return Bad(item.key, item.error or "", item.loss)


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of an evaluation file, oldest first; none where there is no file yet.

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


def cell(path: Path) -> str:
  """A path as a spreadsheet takes it: no formula, and in UTF-8."""
  text = words.visible(str(path))
  return f"./{text}" if text.startswith(("=", "+", "-", "@")) else text


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
    # The name of an own class is all that is known of it.
    shown = [
      f"{' '.join(dict.fromkeys((one, synsets.name(one))))} ({unknown[one]:,})"
      for one in unknown
    ]
    lines.append(
      f"{words.counted(sum(unknown.values()), 'photo')} of classes that the weights do "
      f"not know, {consequence}: {_first(shown)}"
    )
  if bad:
    shown = [f"{one['photo']} ({one['reason']})" for one in bad]
    lines.append(
      f"{words.counted(len(bad), 'photo')} left out, without pixels or class: "
      f"{_first(shown)}"
    )
  return lines


def as_rows(bad: Sequence[Bad]) -> list[dict[str, str]]:
  """`photo` and `reason` of each photo that cannot be decoded or has no class."""
  return [{"photo": one.key, "reason": one.reason} for one in bad]


def first_of(bad: Sequence[Bad]) -> str:
  """` (KEY: REASON)` of the first bad photo, for an error message; "" if none is."""
  return f" ({bad[0].key}: {bad[0].reason})" if bad else ""


def failed(bad: Sequence[Bad]) -> dict[str, str]:
  """`failed`, if a part of an archive could not be read: how much of which."""
  lost: Counter[str] = Counter()
  for one in bad:
    if one.loss is not None:
      lost[one.loss.archive] += one.loss.size
  if not lost:
    return {}
  each = [f"{words.counted(n, 'byte')} of {name}" for name, n in lost.items()]
  return {"failed": f"not all could be read: {_first(each)} damaged or missing"}


def refuse_damage(bad: Sequence[Bad]) -> None:
  """ValueError if a part of an archive could not be read: nothing is made of a part."""
  if lost := failed(bad):
    first = first_of([one for one in bad if one.loss])
    raise ValueError(
      f"{lost['failed']}{first}; nothing was written: get the archive again, or unpack "
      "what is sound of it into a folder"
    )


def counts_line(counts: Mapping[str, int]) -> str:
  """`12 photos: 9 scored, 2 of unknown classes, 1 unreadable or without class`."""
  parts = [f"{counts[name]:,} {_COUNTED[name]}" for name in _COUNTED if name in counts]
  return f"{words.counted(counts['photos'], 'photo')}: {', '.join(parts)}"


def _first(shown: list[str]) -> str:
  return "; ".join(shown[:5]) + ("; …" if len(shown) > 5 else "")

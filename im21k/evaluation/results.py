"""Rows of scores <-> `evaluation.csv`, and lines about photos that do not count."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from im21k import files, synsets

CSV = "evaluation.csv"


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of an evaluation file, oldest first; none where there is no file.

  Raises:
    ValueError: it is another file, which must not be written over.
  """
  text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
  reader = csv.DictReader(io.StringIO(text))
  if text and not {"date", "answers"} & {*(reader.fieldnames or ())}:
    raise ValueError(f"{path} is not a file of `im21k evaluate`: name another CSV file")
  return list(reader)


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

"""MXNet's .lst files: `id \\t label[ \\t label …] \\t path`, a line for each image."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

LONGEST_LINE = 1 << 16  # characters; without a bound, one line is the whole file
_MOST_DIGITS = 20  # of 2⁶⁴; Python refuses to read thousands, and names no file


@dataclasses.dataclass(frozen=True)
class Entry:
  """A line: the image's number, its labels, and its path below a root folder."""

  id: int
  labels: tuple[float, ...]
  path: str


def read(path: Path) -> Iterator[Entry]:
  """The lines one by one; empty ones are skipped.

  Raises:
    ValueError: names file, line and reason.
  """
  with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
      number += 1
      where = f"{path} line {number}"
      if len(line) > LONGEST_LINE:
        raise ValueError(f"{where}: more than {LONGEST_LINE:,} characters")
      if text := line.rstrip("\r\n"):
        yield _entry(where, text)


def is_number(text: str) -> bool:
  """Whether these are decimal digits, and not more than a file can have use for."""
  return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _entry(where: str, text: str) -> Entry:
  fields = text.split("\t")
  if len(fields) < 3 or not fields[-1]:
    raise ValueError(
      f"{where}: not number, labels and path between tabs, but {text[:80]!r}"
    )
  number, *labels, name = fields
  if not is_number(number):
    raise ValueError(f"{where}: the image's number is {number[:80]!r}")
  shown = repr(labels)[:80]
  try:
    values = tuple(float(label) for label in labels)
  except ValueError:
    raise ValueError(f"{where}: the labels are {shown}, not numbers") from None
  if not all(map(math.isfinite, values)):
    raise ValueError(f"{where}: the labels are {shown}, not finite")
  return Entry(int(number), values, name)

"""MXNet's .lst files: `id \\t label[ \\t label …] \\t path`, a line for each image."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

LONGEST_LINE = 1 << 16  # characters; without a bound, one line is the whole file
_LONGEST_SKIPPED = 1 << 26  # bytes; no list has such lines
_MOST_DIGITS = 20  # of 2⁶⁴; Python refuses to read thousands, and names no file


@dataclasses.dataclass(frozen=True)
class Entry:
  """A line: the image's number, its labels, and its path below a root folder."""

  id: int
  labels: tuple[float, ...]
  path: str


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
  """A line of a text file: its number from 1, and its text; None if it is too long."""

  number: int
  text: str | None

  def whole(self) -> str:
    """The text; ValueError if it is too long."""
    if self.text is None:
      raise ValueError(f"more than {LONGEST_LINE:,} characters")
    return self.text


def read(path: Path) -> Iterator[Entry]:
  """The lines of a .lst one by one; empty ones are skipped.

  Raises:
    ValueError: names file, line and reason.
  """
  for line in lines(path):
    try:
      yield parse(line.whole())
    except ValueError as error:
      raise ValueError(f"{path} line {line.number}: {error}") from error


def lines(path: Path) -> Iterator[Line]:
  """The lines of a text in UTF-8, without their ends; empty ones are skipped.

  A byte-order mark is skipped, as spreadsheets write it; bytes that are not UTF-8 are
  kept as `surrogateescape` does.

  Raises:
    ValueError: the file is not such a text at all; names it.
  """
  with path.open("rb") as file:
    if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
      raise ValueError(f"{path} is text in UTF-16: save it in UTF-8")
    number = 0
    while line := file.readline(4 * LONGEST_LINE):
      number += 1
      if not line.endswith(b"\n") and len(line) == 4 * LONGEST_LINE:
        skipped = len(line)
        while not line.endswith(b"\n") and (line := file.readline(1 << 20)):
          skipped += len(line)
          if skipped > _LONGEST_SKIPPED:
            raise ValueError(
              f"{path} line {number}: more than {_LONGEST_SKIPPED:,} bytes, so this is "
              "no list"
            )
        yield Line(number, None)
        continue
      code = "utf-8-sig" if number == 1 else "utf-8"
      text = line.decode(code, "surrogateescape").rstrip("\r\n")
      if len(text) > LONGEST_LINE:
        yield Line(number, None)
      elif text.strip():
        yield Line(number, text)


def is_number(text: str) -> bool:
  """Whether these are decimal digits, and not more than a file can have use for."""
  return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def parse(text: str) -> Entry:
  """A line of a .lst; ValueError says what is wrong with it."""
  fields = text.split("\t")
  if len(fields) < 3 or not fields[-1]:
    raise ValueError(f"not number, labels and path between tabs, but {text[:80]!r}")
  number, *labels, name = fields
  if not is_number(number):
    raise ValueError(f"the image's number is {number[:80]!r}")
  shown = repr(labels)[:80]
  try:
    values = tuple(map(_number, labels))
  except ValueError:
    raise ValueError(f"the labels are {shown}, not numbers") from None
  if not all(map(math.isfinite, values)):
    raise ValueError(f"the labels are {shown}, not finite")
  return Entry(int(number), values, name)


def _number(text: str) -> float:
  if "_" in text or not text.isascii():  # Python's own way to write numbers.
    raise ValueError(text)
  return float(text)

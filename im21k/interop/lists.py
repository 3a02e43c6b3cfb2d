"""MXNet's .lst files: `id \\t label[ \\t label …] \\t path`, a line for each image."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Entry:
  """A line: the image's number, its labels, and its path below some root."""

  id: int
  labels: tuple[float, ...]
  path: str


def read(path: Path) -> Iterator[Entry]:
  """The lines one by one; empty ones are passed over.

  Raises:
    ValueError: names file, line and reason.
  """
  with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
    for number, line in enumerate(file, 1):
      text = line.rstrip("\r\n")
      if text:
        yield _entry(f"{path} line {number}", text)


def _entry(where: str, text: str) -> Entry:
  number, *labels, name = text.split("\t")
  if not labels or not name:
    raise ValueError(
      f"{where}: not number, labels and path between tabs, but {text[:80]!r}"
    )
  if not (number.isascii() and number.isdigit()):
    raise ValueError(f"{where}: the image's number is {number!r}")
  try:
    values = tuple(float(label) for label in labels)
  except ValueError:
    raise ValueError(f"{where}: the labels are {labels!r}, not numbers") from None
  if not all(map(math.isfinite, values)):
    raise ValueError(f"{where}: the labels are {labels!r}, not finite")
  return Entry(int(number), values, name)

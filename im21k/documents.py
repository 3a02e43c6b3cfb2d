"""JSON of strangers -> Python values; what readers disagree about is refused."""

import collections
import json
import math
from pathlib import Path
from typing import Any

LARGEST = 16 << 20  # bytes: a manifest of 80,000 shards; 0.5 GB as objects


def read(path: Path, remedy: str = "", largest: int = LARGEST) -> dict[str, Any]:
  """The JSON object in a file.

  Args:
    path: the file.
    remedy: what to do if it is damaged; ends every message.
    largest: bytes that the file may have.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no regular file, too large, or not one JSON object.
  """
  remedy = remedy and f"; {remedy}"
  if path.exists() and not path.is_file():  # A FIFO would be waited for.
    raise ValueError(f"{path} is not a regular file{remedy}")
  with path.open("rb") as file:
    data = file.read(largest + 1)
  if len(data) > largest:
    raise ValueError(f"{path} is damaged: it has more than {largest:,} bytes{remedy}")
  try:
    document = parse(data)
    if not isinstance(document, dict):
      raise ValueError("it is not a JSON object")
  except ValueError as error:
    raise ValueError(f"{path} is damaged: {error}{remedy}") from error
  return document


def parse(data: bytes) -> Any:
  """JSON in UTF-8, with a byte-order mark or without.

  Raises:
    ValueError: it is not, or readers disagree about it: a name that comes twice in an
      object, NaN, infinity, nesting beyond Python's stack.
  """
  try:
    return json.loads(
      data.decode("utf-8-sig"),
      object_pairs_hook=_object,
      parse_constant=_finite,
      parse_float=_finite,
    )
  except RecursionError:
    raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  made = dict(pairs)
  if len(made) < len(pairs):
    ((twice, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
    raise ValueError(f"the field {twice[:80]!r} comes twice")
  return made


def _finite(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f"{text[:80]} is not a finite number")
  return value

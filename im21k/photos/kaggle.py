"""Kaggle's LOC_val_solution.csv -> the synsets of ILSVRC2012's validation photos.

Its rows are `ILSVRC2012_val_00048981,n03995372 85 1 499 272`, in any order: a photo,
and the synset and box of each object in it, all of one synset.
"""

from pathlib import Path

from im21k import synsets
from im21k.photos import names

NAME = "LOC_val_solution.csv"
_HEADER = "ImageId,PredictionString"
_MOST = 64 << 20  # bytes; the real one has 4 MB
_LONGEST = 1_000_000  # the highest number that a photo may have
_PLACE = "ILSVRC", "Data", "CLS-LOC", "val"


def beside(place: Path) -> Path | None:
  """The table for a folder of photos, where Kaggle's archive has it; None: no table."""
  parents = place.resolve().parents
  if place.resolve().parts[-4:] != _PLACE:
    return None
  table = parents[3] / NAME
  return table if table.is_file() else None


def labels(table: Path) -> tuple[str, ...]:
  """The synset of photo n at position n - 1, "" where there is none.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no such table; names file and line.
  """
  with table.open("rb") as file:
    data = file.read(_MOST + 1)
  if len(data) > _MOST:
    raise ValueError(f"{table} has more than {_MOST >> 20} MiB: it is no {NAME}")
  header, *lines = data.decode("utf-8-sig", "replace").splitlines() or [""]
  if header.strip() != _HEADER:
    raise ValueError(f"{table} line 1 should be {_HEADER}, but is {header[:80]!r}")
  found: dict[int, str] = {}
  for number, line in enumerate(lines, 2):
    if not line.strip():
      continue
    name, _, boxes = line.partition(",")
    match = names.VALIDATION.fullmatch(f"{name.strip()}.JPEG")
    said = {word for word in boxes.split() if synsets.is_synset(word)}
    if not match or len(said) != 1 or not 1 <= int(match[1]) <= _LONGEST:
      raise ValueError(
        f"{table} line {number:,} should be a validation photo and one synset with its "
        f"boxes, but is {line[:80]!r}"
      )
    if found.setdefault(int(match[1]), *said) not in said:
      raise ValueError(f"{table} line {number:,}: {name} has had another synset before")
  return tuple(found.get(n, "") for n in range(1, max(found, default=0) + 1))

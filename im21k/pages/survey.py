"""A packed folder -> what its page shows: its reports, and a sample of its photos.

The numbers of all photos are those that packing has counted. Sizes and thumbnails are
of a sample: the first photos of the shards, which packing has shuffled.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from im21k import documents, synsets, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs
from im21k.fields import Fields
from im21k.packing.outcomes import REJECTED, REPORT
from im21k.pages import render, ticks
from im21k.photos import images

_THUMBNAILS = 60
_REJECTIONS = 40  # Rows of rejected.tsv that are shown.
_LARGEST = 64 << 20  # Bytes of a report: 21,841 classes of every kind have 30 MB.
_LONGEST_LINE = 4_096


@dataclasses.dataclass(frozen=True)
class ClassRow:
  """A class: its photos in the train and eval splits; None where that is unknown."""

  synset: str
  name: str
  train: int
  held_out: int | None


@dataclasses.dataclass(frozen=True)
class KindRow:
  """What packing found: what it did about it, of how many photos, mostly where."""

  kind: str
  rule: str
  count: int
  classes: str


@dataclasses.dataclass(frozen=True)
class Thumbnail:
  """A photo of the sample."""

  name: str
  source: str
  lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Bin:
  """A bar of a histogram: what it holds, its share of the photos, and that in words."""

  name: str
  share: float
  text: str


@dataclasses.dataclass(frozen=True)
class Sample:
  """A fair sample of the photos: thumbnails, one of a class; histograms by title."""

  photos: int
  bad: int
  thumbnails: list[Thumbnail]
  histograms: list[tuple[str, list[Bin]]]


@dataclasses.dataclass(frozen=True)
class Report:
  """`report.json` of a packed folder.

  Attributes:
    classes: those with photos, the largest first.
    kinds: what packing found, the most frequent first, those that it did not find last.
    skipped: photos that were left out for their class, by synset.
    damaged: bytes that could not be read, by archive.
    duplicates: the option of that name.
  """

  classes: list[ClassRow]
  kinds: list[KindRow]
  skipped: dict[str, int]
  damaged: dict[str, int]
  duplicates: str


def read_report(folder: Path, classes: synsets.ClassList) -> Report:
  """The report of packing, checked.

  Raises:
    FileNotFoundError: it is not there.
    ValueError: it is damaged; names the field.
  """
  path = folder / REPORT
  fields = Fields(documents.read(path, largest=_LARGEST), path, "pack the photos again")
  names = dict(zip(classes.synsets, classes.names, strict=True))
  train = _counts(fields, "train_classes")
  held_out = _counts(fields, "eval_classes") if "eval_classes" in fields else None
  rows = [
    ClassRow(
      one,
      names.get(one) or synsets.name(one),
      train.get(one, 0),
      None if held_out is None else held_out.get(one, 0),
    )
    for one in {**train, **(held_out or {})}
  ]
  kinds = []
  for kind, found in fields.object("kinds").parts():
    of_class = Counter(_counts(found, "classes"))
    most = [
      f"{names.get(one) or synsets.name(one) if one else 'no class'} ({n:,})"
      for one, n in of_class.most_common(3)
    ]
    kinds.append(
      KindRow(kind, found.text("rule"), found.integer("count"), ", ".join(most))
    )
  return Report(
    sorted(rows, key=lambda row: (-row.train - (row.held_out or 0), row.synset)),
    sorted(kinds, key=lambda row: -row.count),
    _counts(fields, "skipped") if "skipped" in fields else {},
    _counts(fields, "damaged_archives") if "damaged_archives" in fields else {},
    fields.text("duplicates"),
  )


def _counts(fields: Fields, name: str) -> dict[str, int]:
  """Numbers of photos by synset."""
  part = fields.object(name)
  return {one: part.integer(one, at_least=0) for one in part.document}


def rejections(folder: Path) -> list[tuple[str, ...]]:
  """Key, kind and reason of the first rejected photos; none where there is no list."""
  path = folder / REJECTED
  if not path.is_file():
    return []
  rows = []
  with path.open("rb") as file:
    for _ in range(_REJECTIONS + 1):
      line = file.readline(_LONGEST_LINE).decode("utf-8", "replace").rstrip("\n")
      rows.append(tuple(line.split("\t", 2)))
  return [row for row in rows[1:] if len(row) == 3]


def sample(
  folder: Path, manifest: Manifest, classes: synsets.ClassList, most: int
) -> Sample:
  """A sample of the photos of all splits.

  Args:
    folder: of packed photos.
    manifest: its manifest.
    classes: its class list.
    most: number of photos.
  """
  names = dict(zip(classes.synsets, classes.names, strict=True))
  sides: list[tuple[int, int, int]] = []
  shown: dict[str, Thumbnail] = {}
  bad = 0
  for split in manifest.splits:
    part = max(1, most * manifest.count(split) // max(1, _photos(manifest)))
    source = inputs.open_photos(folder, "train" if split == "train" else "eval")
    for photo in itertools.islice(source, part):
      try:
        if photo.problem:
          raise ValueError(photo.problem[1])
        data = photo.data
        pixels = images.decode(data)
      except (ValueError, OSError):
        bad += 1
        continue
      height, width = pixels.shape[:2]
      sides.append((height, width, len(data)))
      if photo.synset not in shown and len(shown) < _THUMBNAILS:
        name = (names.get(photo.synset) or synsets.name(photo.synset)).split(",")[0]
        size = f"{width:,} × {height:,}, {shown_bytes(len(data))}"
        shown[photo.synset] = Thumbnail(
          name, render.data_uri(render.thumbnail(pixels)), (name, size)
        )
  return Sample(len(sides), bad, list(shown.values()), _histograms(sides))


def _photos(manifest: Manifest) -> int:
  return sum(manifest.count(split) for split in manifest.splits)


def _histograms(
  sides: Sequence[tuple[int, int, int]],
) -> list[tuple[str, list[Bin]]]:
  """Of short sides in pixels, widths over heights, and bytes."""
  if not sides:
    return []
  height, width, size = np.array(sides, np.float64).T
  short, ratio = np.minimum(height, width), width / height
  return [
    ("Short side, pixels", _bins(short, [64, 128, 192, 256, 320, 400, 512, 768, 1024])),
    (
      "Width over height",
      _bins(ratio, [0.5, 0.7, 0.9, 1.1, 1.3, 1.45, 1.6, 2.0]),
    ),
    (
      "Size of the JPEG",
      _bins(size, [2_000 * 2**power for power in range(10)], shown_bytes),
    ),
  ]


def _bins(values: Any, edges: list[float], text: Any = None) -> list[Bin]:
  """Shares of values below the first edge, between two, and from the last one on."""
  text = text or (lambda edge: f"{edge:g}")
  place = np.searchsorted(edges, values, side="right")
  counts = np.bincount(place, minlength=len(edges) + 1)
  names = [f"below {text(edges[0])}"]
  names += [f"{text(a)} to {text(b)}" for a, b in itertools.pairwise(edges)]
  names.append(f"{text(edges[-1])} and more")
  used = np.flatnonzero(counts)
  return [
    Bin(names[at], counts[at] / len(values), f"{100 * counts[at] / len(values):.3g} %")
    for at in range(used[0], used[-1] + 1)
  ]


def shown_bytes(size: float) -> str:
  """Bytes with a unit: 19.8 kB."""
  text = ticks.compact(size)
  digits = text.rstrip("kMGT")
  return f"{digits} {text[len(digits) :]}B"


def counted_kinds(report: Report, rule: str) -> int:
  """Photos of all kinds about which packing did this; a photo may be of several."""
  return sum(row.count for row in report.kinds if row.rule == rule)


def classes_by_size(rows: Sequence[ClassRow], listed: int) -> list[Bin]:
  """How many classes of the list have so many training photos."""
  edges = [1, 10, 50, 100, 300, 500, 1_000, 1_300]
  names = ["none", "1 to 9", "10 to 49", "50 to 99", "100 to 299", "300 to 499"]
  names += ["500 to 999", "1,000 to 1,299", "1,300 and more"]
  train = [row.train for row in rows]
  counts = np.bincount(
    np.searchsorted(edges, train, side="right"), minlength=len(edges) + 1
  )
  counts[0] += max(0, listed - len(rows))
  return [
    Bin(name, n / max(1, counts.sum()), words.counted(int(n), "class"))
    for name, n in zip(names, counts, strict=True)
    if n
  ]

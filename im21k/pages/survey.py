"""A packed folder -> what its page shows: its reports, and a sample of its photos.

The numbers of all photos are those that packing has counted. Sizes and thumbnails are
of a sample: the first photos of the shards, which packing has shuffled.
"""

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

from im21k import documents, synsets
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs
from im21k.fields import Fields
from im21k.packing.outcomes import REJECTED, REPORT
from im21k.pages import histograms, render
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
class Sample:
  """A fair sample of the photos: thumbnails, one of a class; histograms by title."""

  photos: int
  bad: int
  thumbnails: list[Thumbnail]
  histograms: list[tuple[str, list[histograms.Bin]]]


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


def read_report(folder: Path, manifest: Manifest, classes: synsets.ClassList) -> Report:
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
  for name, split, counts in (
    ("train_classes", "train", train), ("eval_classes", "eval", held_out)
  ):  # fmt: skip
    stated = manifest.count(split) if split in manifest.splits else 0
    if counts is not None and sum(counts.values()) != stated:
      problem = f"sums to {sum(counts.values()):,}, but the manifest says {stated:,}"
      raise fields.error(name, problem)
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
        size = f"{width:,} × {height:,}, {histograms.shown_bytes(len(data))}"
        shown[photo.synset] = Thumbnail(
          name, render.data_uri(render.thumbnail(pixels)), (name, size)
        )
  return Sample(len(sides), bad, list(shown.values()), histograms.of_sizes(sides))


def _photos(manifest: Manifest) -> int:
  return sum(manifest.count(split) for split in manifest.splits)


def counted_kinds(report: Report, rule: str) -> int:
  """Photos of all kinds about which packing did this; a photo may be of several."""
  return sum(row.count for row in report.kinds if row.rule == rule)

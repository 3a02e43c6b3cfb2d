"""Rows of features <-> numbered parts in a folder, which are whole or not there.

Each part holds the photos of a fixed number of batches, so that what is written does
not depend on when a process was ended, and memory holds one part.

  begun.json            what was asked for; parts of anything else are refused
  features-00000.npy    `[n, …]`, float16 or float32
  labels-00000.npy      int32 `[n]`, indices of `classes` in features.json; -1: none
  keys-00000.npy        text `[n]`
  part-00000.json       photos read, those without a row, where the next part begins
  features.json         written last: all counts, and the classes
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from im21k import documents, files
from im21k.features.stream import Rows
from im21k.fields import Fields

BEGUN, DOCUMENT = "begun.json", "features.json"
ARRAYS = ("features", "labels", "keys")
NO_LABEL = -1
STATE = "state"  # Of what was asked for: the digest of the photos.
REMEDY = "remove the folder and begin again"
_LARGEST = 1 << 28  # Bytes of JSON: a part, all of whose photos are bad, has less.


@dataclasses.dataclass(frozen=True)
class Place:
  """Where in a source a part ends.

  Attributes:
    stream: number of the stream that its last photo is in.
    photos: how many photos of that stream come before the end.
    key: of its last photo.
  """

  stream: int
  photos: int
  key: str


@dataclasses.dataclass(frozen=True)
class Part:
  """What `part-00000.json` says.

  Attributes:
    photos: photos read.
    rows: those that have a row.
    unlabelled: rows with label -1.
    bad: `photo`, `reason` and perhaps `lost_bytes` of the others.
    classes: classes that came for the first time.
    end: where it ends.
  """

  photos: int
  rows: int
  unlabelled: int
  bad: list[dict[str, Any]]
  classes: list[str]
  end: Place


class Parts:
  """The parts in a folder; those after a gap do not count."""

  def __init__(self, folder: Path, asked: dict[str, Any], classes: Sequence[str]):
    """Reads which parts there are.

    Args:
      folder: where they are, or will be.
      asked: what determines every byte of them.
      classes: the first labels.

    Raises:
      ValueError: the folder holds something else, or parts of something else.
    """
    self._folder, self._asked = folder, asked
    self._labels = {synset: label for label, synset in enumerate(classes)}
    self.parts: list[Part] = []
    if not (folder / BEGUN).exists():
      if folder.exists() and any(p.name[0] != "." for p in folder.iterdir()):
        raise ValueError(
          f"{folder} holds other files: name a folder that is empty or does not exist"
        )
      return
    check_same(documents.read(folder / BEGUN, REMEDY), asked, folder)
    while (path := self._document(len(self.parts))).exists():
      part = _part(path)
      for synset in part.classes:
        self._labels[synset] = len(self._labels)
      self.parts.append(part)

  @property
  def classes(self) -> list[str]:
    """What the labels index: the first ones, then others as they came."""
    return list(self._labels)

  @property
  def is_done(self) -> bool:
    """Whether nothing is left to do."""
    return (self._folder / DOCUMENT).exists()

  @property
  def end(self) -> Place | None:
    """Where the next part begins; None: at the beginning."""
    return self.parts[-1].end if self.parts else None

  def total(self, name: str) -> int:
    """Sum of a number over all parts, such as `rows`."""
    return sum(getattr(part, name) for part in self.parts)

  def begin(self) -> None:
    """Writes what was asked for, and removes what killed writers have left."""
    self._folder.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(self._folder)
    if not (self._folder / BEGUN).exists():
      files.write_text(self._folder / BEGUN, json.dumps(self._asked, indent=1) + "\n")

  def add(self, batches: Sequence[Rows], end: Place) -> None:
    """Writes the next part; its own document last."""
    number, known = len(self.parts), len(self._labels)
    synsets = [synset for batch in batches for synset in batch.synsets]
    labels = [
      self._labels.setdefault(synset, len(self._labels)) if synset else NO_LABEL
      for synset in synsets
    ]
    arrays: dict[str, npt.NDArray[Any]] = {
      "features": np.concatenate([batch.values for batch in batches]),
      "labels": np.array(labels, np.int32),
      "keys": np.array([key for batch in batches for key in batch.keys], np.str_),
    }
    for name, array in arrays.items():
      with files.whole(self.path(name, number)) as aside, aside.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    part = Part(
      photos=sum(batch.read for batch in batches),
      rows=len(labels),
      unlabelled=labels.count(NO_LABEL),
      bad=[_bad(item) for batch in batches for item in batch.bad],
      classes=self.classes[known:],
      end=end,
    )
    files.write_text(self._document(number), json.dumps(dataclasses.asdict(part)))
    self.parts.append(part)

  def finish(self) -> None:
    """Writes that all parts are there, with the classes."""
    rows = [part.rows for part in self.parts]
    document = {**self.summary(), "parts": rows, "classes": self.classes}
    files.write_text(self._folder / DOCUMENT, json.dumps(document) + "\n")

  def summary(self) -> dict[str, Any]:
    """Counts, and what was asked for."""
    return {
      "asked": self._asked,
      "photos": self.total("photos"),
      "rows": self.total("rows"),
      "unlabelled": self.total("unlabelled"),
    }

  @property
  def bad(self) -> list[dict[str, Any]]:
    """The photos without a row."""
    return [row for part in self.parts for row in part.bad]

  def remove(self) -> None:
    """Removes all that was written here, and the folder if it is empty then."""
    for number in range(len(self.parts)):
      self._document(number).unlink(missing_ok=True)
      for name in ARRAYS:
        self.path(name, number).unlink(missing_ok=True)
    for name in (DOCUMENT, BEGUN):
      (self._folder / name).unlink(missing_ok=True)

  def arrays(self, name: str) -> Iterator[npt.NDArray[Any]]:
    """One of `ARRAYS`, part by part, mapped into memory."""
    for number in range(len(self.parts)):
      yield np.load(self.path(name, number), mmap_mode="r", allow_pickle=False)

  def path(self, name: str, number: int) -> Path:
    """The file of an array of a part."""
    return self._folder / f"{name}-{number:05}.npy"

  def _document(self, number: int) -> Path:
    return self._folder / f"part-{number:05}.json"


def check_same(begun: dict[str, Any], asked: dict[str, Any], where: Path) -> None:
  """ValueError that names the first difference to what was asked for before."""
  for name in {**asked, **begun}:  # In the order of what was asked for.
    was, now = begun.get(name), asked.get(name)
    if was != now and name == STATE:
      raise ValueError(
        f"the photos have changed since {where} was begun: name another place, or "
        "remove it"
      )
    if was != now:
      raise ValueError(
        f"{where} holds features with {name} {was!r}, not {now!r}: ask for the same, "
        "or name another place"
      )


def _part(path: Path) -> Part:
  fields = Fields(documents.read(path, REMEDY, _LARGEST), path, REMEDY)
  end = fields.object("end")
  return Part(
    fields.integer("photos"), fields.integer("rows"), fields.integer("unlabelled"),
    [row.document for row in fields.objects("bad")], list(fields.texts("classes")),
    Place(end.integer("stream"), end.integer("photos"), end.text("key")),
  )  # fmt: skip


def _bad(item: Any) -> dict[str, Any]:
  lost = {"lost_bytes": item.loss.size} if item.loss else {}
  return {"photo": item.key, "reason": item.error, **lost}

"""Photos, packed or to be packed -> the folder of packed ones, and what it lacks."""

import math
from pathlib import Path

from im21k import synsets, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs
from im21k.packing import class_choice, final_files, outcomes
from im21k.packing.config import PackOptions
from im21k.packing.pack import pack
from im21k.photos import downloads, own_folders
from im21k.training.outputs import say

_EVAL_FRACTION = 0.2
_NAMED = 5  # Classes in a note.


def packed_at(
  photos: Path, out: Path, classes: str | None, eval_fraction: float | None, seed: int
) -> tuple[Path, Manifest, str | None]:
  """The folder of packed photos, its manifest, and in a line what bytes were lost."""
  if inputs.is_packed(photos):
    return photos, Manifest.load(photos), None
  classes = classes_of(photos, classes)
  packed = out / "packed"
  layout = downloads.find(photos)
  usual = 0.0 if layout and layout.eval else _EVAL_FRACTION
  fraction = usual if eval_fraction is None else eval_fraction
  options = PackOptions(classes=classes, eval_fraction=fraction, seed=seed)
  if inputs.is_packed(packed):
    result = final_files.result(packed, options)
  else:
    result = pack(photos, packed, options=options)
    counts = f"{result['train']:,} train and {result['eval']:,} held-out photos"
    say(f"packed {counts} into {packed}")
  return packed, Manifest.load(packed), result.get("failed")


def classes_of(photos: Path, classes: str | None) -> str | None:
  """The option `classes` of pack; ValueError if folders are those of splits."""
  if classes is None and (found := own_folders.names(photos)):
    own_folders.check_are_classes(photos, found)
    return class_choice.FOLDERS
  return classes


def untrained(data: Path, listed: synsets.ClassList) -> int | None:
  """Says which classes have no photo to train on; how many, None: not known."""
  counts = outcomes.train_photos(data, listed.synsets)
  if counts is None:
    return None
  none = [one for one, n in zip(listed.synsets, counts, strict=True) if not n]
  if none:
    more = ", …" if len(none) > _NAMED else ""
    say(
      f"{words.counted(len(none), 'class')} without a photo to train on: "
      f"{', '.join(none[:_NAMED])}{more}"
    )
  return len(none)


def check(
  photos: Path,
  classes: str | None,
  eval_fraction: float | None,
  steps: int | None,
  batch_size: int | None,
  rate: float | None,
) -> None:
  """ValueError if an option is out of range, before anything is read."""
  for name, given in (("classes", classes), ("eval_fraction", eval_fraction)):
    if given is not None and inputs.is_packed(photos):
      raise ValueError(
        f"{name} is for photos that are packed here; {photos} is packed already, and "
        "keeps its own: leave it out, or give the photos"
      )
  if eval_fraction is not None and not 0 <= eval_fraction < 1:
    raise ValueError(
      f"eval_fraction is {eval_fraction}, but must be at least 0 and below 1"
    )
  for name, value in (("steps", steps), ("batch_size", batch_size)):
    if value is not None and value < 1:
      raise ValueError(f"{name} is {value}, but must be at least 1")
  if rate is not None and not 0 < rate < math.inf:
    raise ValueError(f"rate is {rate}, but must be above 0")

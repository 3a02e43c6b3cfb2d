"""Photos, one after the other -> probabilities of all classes, batch by batch."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from im21k import synsets
from im21k.inference.classifier import Classifier
from im21k.pages import figures
from im21k.photos import image_files, images, sources

BATCH = 16
Pixels = UInt8[np.ndarray, "h w 3"]


class Batch(NamedTuple):
  """Some photos and their probabilities.

  Attributes:
    names: name of each photo.
    probabilities: `[b, classes]`.
    thumbnails: a small copy of each photo; empty unless asked for.
  """

  names: list[str]
  probabilities: Float32[np.ndarray, "b classes"]
  thumbnails: list[Pixels]


def read_photos(
  places: Sequence[Path], classes: synsets.ClassList, bad: list[dict[str, Any]]
) -> Iterator[tuple[str, Pixels]]:
  """Name and pixels of each photo at some places.

  Args:
    places: image files, or whatever `photos.open` takes.
    classes: class list that the numbers in a .rec or .lst index.
    bad: gets `photo` and `reason` of each photo that cannot be decoded, and of each
      place, by its own name, that holds none or cannot be read to its end; also
      `lost_bytes`, where it stands for a part of an archive.
  """
  for place in places:
    try:
      yield from _read_place(place, classes, bad)
    except (ValueError, OSError) as error:
      bad.append({"photo": str(place), "reason": _reason(error)})


def _read_place(
  place: Path, classes: synsets.ClassList, bad: list[dict[str, Any]]
) -> Iterator[tuple[str, Pixels]]:
  is_file = place.is_file()
  if is_file and (
    place.suffix.lower() in image_files.SUFFIXES or image_files.is_image(place)
  ):
    yield str(place), images.decode(place.read_bytes())
    return
  for photo in sources.open(place, classes=classes):
    name = f"{place}/{photo.key}"
    try:
      if photo.problem:
        raise images.ImageError(": ".join(photo.problem))
      yield name, images.decode(photo.data)
    except images.ImageError as error:
      lost = {"lost_bytes": photo.loss.size} if photo.loss else {}
      bad.append({"photo": name, "reason": str(error), **lost})


def _reason(error: ValueError | OSError) -> str:
  """Why a place gave no photo; its name stands beside the reason."""
  strerror = error.strerror if isinstance(error, OSError) else None
  return strerror[:1].lower() + strerror[1:] if strerror else str(error)


def batches(
  model: Classifier,
  photos: Iterable[tuple[str, Pixels]],
  temperature: float = 1.0,
  thumbnails: bool = False,
) -> Iterator[Batch]:
  """Probabilities of any number of photos; only one at a time is held in full size.

  Args:
    model: classifies the photos.
    photos: name and pixels, uint8 `[h, w, 3]` RGB, of each photo.
    temperature: divides the logits.
    thumbnails: whether to keep small copies of the photos.
  """
  squares = (
    (
      name,
      model.prepare([pixels])[0],
      figures.thumbnail(pixels) if thumbnails else None,
    )
    for name, pixels in photos
  )
  size = 0
  while some := list(itertools.islice(squares, BATCH)):
    size = size or len(some)
    names, inputs, small = zip(*some, strict=True)
    # The last batch is filled up, so that one program serves all.
    filled = np.zeros((size, *inputs[0].shape), np.uint8)
    filled[: len(some)] = inputs
    probabilities = jax.nn.softmax(model.logits(filled) / temperature)
    yield Batch(
      list(names),
      np.asarray(probabilities)[: len(some)],
      list(small) if thumbnails else [],
    )

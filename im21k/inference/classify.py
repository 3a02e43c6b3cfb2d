"""Photos, one after the other -> probabilities of all classes, batch by batch."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
  places: Sequence[Path], classes: synsets.ClassList, bad: list[dict[str, str]]
) -> Iterator[tuple[str, Pixels]]:
  """Name and pixels of each photo at some places.

  Args:
    places: image files, or whatever `photos.open` takes.
    classes: class list that the numbers in a .rec or .lst index.
    bad: gets `photo` and `reason` of each photo of a collection that cannot be decoded.

  Raises:
    FileNotFoundError, ValueError: a place holds no photos.
    ImageError: an image file that is named by itself cannot be decoded.
  """
  for place in places:
    is_file = place.is_file()
    if is_file and (
      place.suffix.lower() in image_files.SUFFIXES or image_files.is_image(place)
    ):
      yield str(place), images.read(place)
      continue
    for photo in sources.open(place, classes=classes):
      name = f"{place}/{photo.key}"
      try:
        if photo.problem:
          raise images.ImageError(": ".join(photo.problem))
        yield name, images.decode(photo.data)
      except images.ImageError as error:
        bad.append({"photo": name, "reason": str(error)})


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

"""Photos, one after the other -> probabilities of all classes, batch by batch."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from im21k.inference.classifier import Classifier
from im21k.pages import figures

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
    names, images, small = zip(*some, strict=True)
    # The last batch is filled up, so that one program serves all.
    filled = np.zeros((size, *images[0].shape), np.uint8)
    filled[: len(some)] = images
    probabilities = jax.nn.softmax(model.logits(filled) / temperature)
    yield Batch(
      list(names),
      np.asarray(probabilities)[: len(some)],
      list(small) if thumbnails else [],
    )

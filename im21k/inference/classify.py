"""Photos, one after the other -> probabilities of all classes, batch by batch.

Threads read and decode ahead. All batches have one shape, so one program serves all.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from im21k import machine, parallel, weights
from im21k.inference.ahead import ahead
from im21k.inference.classifier import Classifier
from im21k.pages import figures
from im21k.photos import Photo, images

BATCH = 16  # Photos at a time, on each device.
_MOST_BAD = 64  # Photos without pixels that wait for others to be classified.
Pixels = UInt8[np.ndarray, "h w 3"]


class Seen(NamedTuple):
  """A photo as the model sees it, or why it does not.

  Attributes:
    name: of the photo.
    square: uint8 `[size, size, 3]`; None where there is a reason.
    thumbnail: a small copy of the photo; None unless asked for.
    reason: why it cannot be classified; "" where it can.
    lost_bytes: bytes of an archive that it stands for; 0: none.
  """

  name: str
  square: Pixels | None
  thumbnail: Pixels | None = None
  reason: str = ""
  lost_bytes: int = 0


class Batch(NamedTuple):
  """Some photos in their order, and the probabilities of those that have pixels.

  Attributes:
    photos: at most `BATCH` with pixels on each device, and those without among them.
    probabilities: `[photos with pixels, classes]`.
  """

  photos: list[Seen]
  probabilities: Float32[np.ndarray, "b classes"]

  @property
  def good(self) -> list[Seen]:
    """The photos with pixels."""
    return [photo for photo in self.photos if not photo.reason]


def see(photo: Photo, prepared: weights.Input, thumbnail: bool = False) -> Seen:
  """Reads and decodes a photo; whatever is wrong with it becomes the reason."""
  reason = ": ".join(filter(None, photo.problem or ()))
  if not reason:
    try:
      pixels = images.decode(photo.data)
      small = figures.thumbnail(pixels) if thumbnail else None
      return Seen(photo.key, prepared.prepare([pixels])[0], small)
    except images.ImageError as error:
      reason = str(error)
  return Seen(photo.key, None, None, reason, photo.loss.size if photo.loss else 0)


def batches(
  model: Classifier,
  photos: Iterable[Photo],
  temperature: float = 1.0,
  thumbnails: bool = False,
) -> Iterator[Batch]:
  """Probabilities of any number of photos, in constant memory.

  Where the list of photos comes slowly, photos are answered before a batch is full.

  Args:
    model: classifies the photos.
    photos: in the order of the answers.
    temperature: divides the logits.
    thumbnails: whether to keep small copies of the photos.
  """
  prepared = model.weights.input
  seen = ahead(photos, lambda photo: see(photo, prepared, thumbnails), _threads())
  most = BATCH * len(parallel.devices())
  run: Callable[[list[Seen]], Float32[np.ndarray, "b classes"]] | None = None
  waiting: list[Seen] = []
  good = 0
  ended = False
  while not ended:
    one = next(seen, _END)
    ended = one is _END
    if isinstance(one, Seen):
      waiting.append(one)
      good += not one.reason
    is_full = good == most or len(waiting) - good == _MOST_BAD
    if not waiting or not (is_full or ended or one is None):
      continue
    if run is None and good:
      # A list that ends here needs no larger program than for this.
      run = program(model, good if ended else most, temperature)
    squares = [photo for photo in waiting if not photo.reason]
    none = np.zeros((0, len(model.classes)), np.float32)
    yield Batch(waiting, run(squares) if run and squares else none)
    waiting, good = [], 0


_END = object()


def program(
  model: Classifier, size: int, temperature: float = 1.0
) -> Callable[[list[Seen]], Float32[np.ndarray, "b classes"]]:
  """The function from up to `size` photos with pixels to probabilities `[b, classes]`.

  It is compiled once, for `size`; fewer photos are filled up. All devices share what is
  more than one takes at a time.
  """
  on = parallel.devices(None if size > BATCH else 1)
  size = -(-size // len(on)) * len(on)
  logits = model.logits if len(on) == 1 else model.logits_on(on)

  def run(photos: list[Seen]) -> Float32[np.ndarray, "b classes"]:
    side = model.weights.input.size
    filled = np.zeros((size, side, side, 3), np.uint8)
    squares = [photo.square for photo in photos if photo.square is not None]
    filled[: len(photos)] = squares
    probabilities = jax.nn.softmax(logits(filled) / temperature)
    return np.asarray(probabilities)[: len(photos)]

  return run


def _threads() -> int:
  return 2 * machine.cores()

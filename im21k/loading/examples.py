"""Records -> training examples in a batch: read, cropped, resized, mirrored."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from im21k.dataset import records
from im21k.loading import flips
from im21k.loading.order import Blockwise, Global
from im21k.loading.read_ahead import ReadAhead
from im21k.loading.shards import Records
from im21k.photos import images
from im21k.photos.crops import RandomResizedCrop, StraightCrop
from im21k.photos.jpeg_crop import Decoder

# Number of records that are tried in place of one that cannot be used.
_NEIGHBOURS = 100
GOOD = -1
# Ten attempts at a random area and aspect ratio, the place, and the mirror: 23 at most.
# One count of Philox gives four.
_NUMBERS = 24
STAGES = ("order", "read", "decode", "resize")
# OpenCV's own threads cost more than they save for 224×224 pixels.
cv2.setNumThreads(1)
_log = logging.getLogger(__name__)


class Made(NamedTuple):
  """An example without its pixels; `bad` is the record that it replaces, or GOOD."""

  label: int
  key: str
  bad: int


class RandomNumbers:
  """Random numbers for one example, with the methods of numpy's Generator.

  Making a Generator for each example takes 20 µs, as long as reading it.
  """

  def __init__(self, uniform: Sequence[float]):
    self._next = iter(uniform).__next__

  def random(self) -> float:
    """A number in [0, 1)."""
    return self._next()

  def uniform(self, low: float, high: float) -> float:
    """A number in [low, high)."""
    return low + (high - low) * self._next()

  def integers(self, high: int) -> int:
    """An integer in [0, high)."""
    return int(high * self._next())


class Examples:
  """The endless stream of training examples, with random access."""

  def __init__(
    self,
    read_from: Records,
    order: Blockwise | Global,
    crop: StraightCrop | RandomResizedCrop,
    mirror: bool | str,
    seed: int,
  ):
    """Takes the records; see `TrainLoader` for the other arguments."""
    self._args = read_from, order, crop, mirror, seed
    self._records = read_from
    self._order, self._crop, self._mirror, self._seed = order, crop, mirror, seed
    self._ahead = ReadAhead(self._read)
    self._thread = threading.local()

  def __reduce__(self) -> tuple[Any, ...]:
    return Examples, self._args

  def prepare(self, positions: range) -> None:
    """Waits until the records of these positions are in the page cache."""
    needs = self._order.needs(positions)
    if needs.now:
      self._ahead.wait_for(*needs)

  def random_numbers(self, positions: range) -> list[list[float]]:
    """Uniform numbers for these examples: a function of seed and position."""
    counter = positions[0] * (_NUMBERS // 4)
    generator = np.random.Generator(np.random.Philox(key=self._seed, counter=counter))
    # Those of other hosts' examples too: a generator for each would take longer.
    every = generator.random((positions[-1] - positions[0] + 1, _NUMBERS))
    numbers: list[list[float]] = every[:: positions.step].tolist()
    return numbers

  def make(
    self,
    position: int,
    numbers: Sequence[float],
    out: UInt8[np.ndarray, "size size 3"],
    stage_done: Callable[[str], None] | None = None,
  ) -> Made:
    """Writes the pixels of an example to `out`.

    A record that cannot be read or decoded is replaced by the record after it.

    Args:
      position: position of the example in the stream.
      numbers: the random numbers of this position.
      out: contiguous array for the pixels.
      stage_done: called with the name of each of the `STAGES` at its end.

    Raises:
      ImageError: the next 100 records cannot be used either.
      ValueError: a label is not in the class list, so nothing here can be trusted.
    """
    stage_done = stage_done or _ignore
    record = wanted = self._order[position]
    stage_done("order")
    for _ in range(_NEIGHBOURS):
      try:
        example = self._records.example(record)
        stage_done("read")
        self._pixels(example, position, RandomNumbers(numbers), out, stage_done)
        break
      except images.ImageError as error:
        reason = error
        if record == wanted:
          _log.warning("%s; the record after it is used instead", error)
        record = (record + 1) % len(self._records)
    else:
      raise images.ImageError(
        f"{reason}; none of the {_NEIGHBOURS} records from there on can be used"
      )
    return Made(example.label, example.key, GOOD if record == wanted else wanted)

  def describe(self, record: int) -> str:
    """Why a record cannot be used."""
    try:
      example = self._records.example(record)
    except images.ImageError as error:
      return str(error)
    return f"photo {example.key} cannot be decoded"

  def _pixels(
    self,
    example: records.Example,
    position: int,
    numbers: RandomNumbers,
    out: UInt8[np.ndarray, "size size 3"],
    stage_done: Callable[[str], None],
  ) -> None:
    decoder = self._decoder()
    size = len(out)
    try:
      box = self._crop.draw(*decoder.open(example.jpeg), numbers)
      part = decoder.crop(box, size)
    except images.ImageError as error:
      raise images.ImageError(f"photo {example.key}: {error}") from error
    stage_done("decode")
    if part.shape != out.shape:
      cv2.resize(part, (size, size), dst=out, interpolation=cv2.INTER_LINEAR)
      part = out
    if self._mirror and self._flips(example.key, position, numbers):
      cv2.flip(part, 1, dst=out)
    elif part is not out:
      np.copyto(out, part)
    stage_done("resize")

  def _flips(self, key: str, position: int, numbers: RandomNumbers) -> bool:
    """Whether a photo is mirrored, where any is."""
    if self._mirror == flips.ALTERNATING:
      return flips.alternates(key, self._seed, position // len(self._records))
    return numbers.random() < 0.5

  def _decoder(self) -> Decoder:
    if not hasattr(self._thread, "decoder"):
      self._thread.decoder = Decoder()
    decoder: Decoder = self._thread.decoder
    return decoder

  def _read(self, block: range) -> None:
    """Reads records, which brings them into the page cache; `make` reports errors."""
    for record in block:
      try:
        self._records.read(record)
      except RuntimeError:
        continue


class StageTimes:
  """Processor time of this thread by stage, in seconds."""

  def __init__(self) -> None:
    self.seconds = dict.fromkeys(STAGES, 0.0)
    self.start()

  def start(self) -> None:
    """Starts the clock of the first stage."""
    self._since = time.thread_time()

  def __call__(self, stage: str) -> None:
    """Adds the time since the last call to a stage."""
    now = time.thread_time()
    self.seconds[stage] += now - self._since
    self._since = now


def _ignore(stage: str) -> None:
  del stage

"""Records -> training examples, in place in a batch: read, cut, resized, mirrored."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import grain
import numpy as np

from im21k.dataset import records
from im21k.loading.order import Blockwise, Global
from im21k.loading.read_ahead import ReadAhead
from im21k.photos import images
from im21k.photos.crops import RandomResizedCrop, StraightCrop
from im21k.photos.jpeg_crop import Decoder

# How far a sound record is looked for in place of one that cannot be used.
_NEIGHBOURS = 100
GOOD = -1
# Ten misses of a random area and aspect, its place, and the mirror: 23 at most. A
# counter of Philox gives four.
_DRAWS = 24
STAGES = ("order", "read", "decode", "resize")
# OpenCV's own threads cost more than they bring for 224×224 pixels.
cv2.setNumThreads(1)
_log = logging.getLogger(__name__)


class Made(NamedTuple):
  """What is known of an example beside its pixels; `bad` is a record, or GOOD."""

  label: int
  key: str
  bad: int


class Draws:
  """Random numbers of one example, with the methods of numpy's Generator.

  Making a Generator for each example takes 20 µs, as long as reading it.
  """

  def __init__(self, uniform: Sequence[float]):
    self._next = iter(uniform).__next__

  def random(self) -> float:
    """In [0, 1)."""
    return self._next()

  def uniform(self, low: float, high: float) -> float:
    """In [low, high)."""
    return low + (high - low) * self._next()

  def integers(self, high: int) -> int:
    """In [0, high)."""
    return int(high * self._next())


class Examples:
  """The endless stream of training examples, any of which can be made at once."""

  def __init__(
    self,
    paths: Sequence[str],
    order: Blockwise | Global,
    crop: StraightCrop | RandomResizedCrop,
    mirror: bool,
    seed: int,
  ):
    """Opens shards; see `TrainLoader` for the arguments."""
    self._args = paths, order, crop, mirror, seed
    # One thread a read: these are many already.
    self._records = grain.sources.ArrayRecordDataSource(
      list(paths), reader_options={"max_parallelism": "1"}
    )
    self._order, self._crop, self._mirror, self._seed = order, crop, mirror, seed
    self._ahead = ReadAhead(self._read)
    self._thread = threading.local()

  def __reduce__(self) -> tuple:
    return Examples, self._args

  def prepare(self, first: int, last: int) -> None:
    """Waits until the records of these positions are in the cache of files."""
    blocks = self._order.needs(first) + self._order.needs(last)
    if blocks:
      self._ahead.wait_for(list(dict.fromkeys(blocks)))

  def draws(self, first: int, count: int) -> list[list[float]]:
    """Uniform random numbers of examples, by the seed and their positions."""
    counter = first * (_DRAWS // 4)
    generator = np.random.Generator(np.random.Philox(key=self._seed, counter=counter))
    return generator.random((count, _DRAWS)).tolist()

  def make(
    self,
    position: int,
    draws: Sequence[float],
    out: np.ndarray,
    lap: Callable[[str], None] | None = None,
  ) -> Made:
    """Writes the pixels of an example to `out`, `[size, size, 3]` uint8.

    A record that cannot be read or decoded is replaced by the one behind it.

    Args:
      position: of the example in the stream.
      draws: those of this position.
      out: contiguous.
      lap: called with the name of each of the `STAGES` at its end.

    Raises:
      ImageError: the next 100 records are no better.
    """
    lap = lap or _no_lap
    record = wanted = self._order[position]
    lap("order")
    for _ in range(_NEIGHBOURS):
      try:
        example = self._example(record)
        lap("read")
        self._pixels(example, Draws(draws), out, lap)
        break
      except images.ImageError as error:
        reason = error
        if record == wanted:
          _log.warning("%s; the record behind it is taken instead", error)
        record = (record + 1) % len(self._records)
    else:
      raise images.ImageError(
        f"{reason}; none of the {_NEIGHBOURS} from there is sound"
      )
    return Made(example.label, example.key, GOOD if record == wanted else wanted)

  def describe(self, record: int) -> str:
    """Why a record cannot be used."""
    try:
      example = self._example(record)
    except images.ImageError as error:
      return str(error)
    return f"photo {example.key} cannot be decoded"

  def _example(self, record: int) -> records.Example:
    try:
      return records.decode(self._records[record])
    except (RuntimeError, ValueError) as error:
      # Riegeli says what is wrong with the bytes, but not in which file.
      shard, place = self._records._reader_idx_and_position(record)
      name = self._args[0][shard]
      raise images.ImageError(f"record {place} of {name}: {error}") from error

  def _pixels(
    self,
    example: records.Example,
    draws: Draws,
    out: np.ndarray,
    lap: Callable[[str], None],
  ) -> None:
    decoder = self._decoder()
    size = len(out)
    try:
      box = self._crop.draw(*decoder.open(example.jpeg), draws)
      part = decoder.crop(box, size)
    except images.ImageError as error:
      raise images.ImageError(f"photo {example.key}: {error}") from error
    lap("decode")
    if part.shape != out.shape:
      cv2.resize(part, (size, size), dst=out, interpolation=cv2.INTER_LINEAR)
      part = out
    if self._mirror and draws.random() < 0.5:
      cv2.flip(part, 1, dst=out)
    elif part is not out:
      np.copyto(out, part)
    lap("resize")

  def _decoder(self) -> Decoder:
    if not hasattr(self._thread, "decoder"):
      self._thread.decoder = Decoder()
    return self._thread.decoder

  def _read(self, block: range) -> None:
    """Brings records into the cache of files; what cannot be read is met again."""
    for record in block:
      try:
        self._records[record]
      except RuntimeError:
        continue


class Laps:
  """Sums of this thread's processor time, in seconds, by stage."""

  def __init__(self) -> None:
    self.seconds = dict.fromkeys(STAGES, 0.0)
    self.start()

  def start(self) -> None:
    """A stage begins."""
    self._since = time.thread_time()

  def __call__(self, stage: str) -> None:
    now = time.thread_time()
    self.seconds[stage] += now - self._since
    self._since = now


def _no_lap(stage: str) -> None:
  del stage

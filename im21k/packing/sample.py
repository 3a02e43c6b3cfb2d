"""Photos of a source, packed as a test -> how long it takes, and what they become."""

import contextlib
import itertools
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from im21k.dataset import records
from im21k.packing import repair, scratch, shard_writer
from im21k.packing.selection import Selection
from im21k.photos import sources
from im21k.photos.tar_headers import BLOCK
from im21k.photos.tars import Tar

_SMALL = 32 << 20  # bytes that are packed as a whole: in a second or two
_STREAMS = 20  # that they are taken from, since classes differ in size


class Sample:
  """Photos packed as a test.

  Attributes:
    photos, read, written: their number, and their bytes before and after.
    taken: bytes that they take in the source.
    seconds: of a core.
    sizes: photos by class.
    is_all: whether they are all photos.
  """

  def __init__(self) -> None:
    self.photos = self.read = self.written = self.taken = 0
    self.seconds = 0.0
    self.sizes: Counter[str] = Counter()
    self.is_all = True

  @classmethod
  def of(cls, source: sources.Source, selection: Selection, most: int) -> "Sample":
    """Packs the first photos of some streams; of little data, all."""
    sample, size = cls(), sum(stream.size for stream in source.streams)
    step, share = 1, None
    if size > _SMALL or not size:
      step = max(1, len(source.streams) // _STREAMS)
      share = -(-most // max(len(source.streams[::step]), 1))
    chosen = source.streams[::step]
    sample.is_all = step == 1
    photos = (photo for stream in chosen for photo in sample._first(stream, share))
    with tempfile.TemporaryDirectory() as folder:
      (Path(folder) / scratch.FOLDER).mkdir()
      start = _cpu()
      shard_writer.write(
        Path(folder), "sample", sample._packed(photos, selection), records.Checksum()
      )
      sample.seconds = _cpu() - start
    return sample

  def _first(self, stream: Any, share: int | None) -> Iterator[sources.Photo]:
    photos = stream.photos()
    in_tar = isinstance(stream, Tar)
    for photo in itertools.islice(photos, share):
      size = len(photo.data)
      self.taken += size + (BLOCK + -size % BLOCK if in_tar else 0)
      yield photo
    if self.is_all and next(photos, None) is not None:
      self.is_all = False

  def _packed(
    self, photos: Iterator[sources.Photo], selection: Selection
  ) -> Iterator[bytes]:
    for photo in photos:
      if not photo.synset or photo.problem:
        self.read += len(photo.data)
        continue
      label = selection.label(photo.synset, photo.key)
      if label is None:
        self.read += len(photo.data)
        continue
      self.photos += 1
      self.sizes[photo.synset] += 1
      self.read += len(photo.data)
      with contextlib.suppress(repair.Rejected):
        jpeg, _, _ = selection.prepare(photo.data)
        self.written += len(jpeg)
        yield records.head(photo.key.encode("utf-8", "surrogateescape"), 0) + jpeg


def _cpu() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime

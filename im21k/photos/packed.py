"""Photos in a folder that `im21k pack` wrote."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from im21k.dataset import records, shard_files
from im21k.dataset.manifest import Manifest, check_count
from im21k.photos.photo import Loss, Photo

_AT_ONCE = 16  # records; read in one call


@dataclasses.dataclass(frozen=True)
class Shard:
  """One shard.

  Attributes:
    path: the file.
    size: its bytes.
    count: its photos.
    classes: synset of each label.
  """

  path: Path
  size: int
  count: int
  classes: tuple[str, ...]

  def photos(self) -> Iterator[Photo]:
    """The photos in the order of the shard; see `every`."""
    return self.every(0, 1)

  def every(self, first: int, step: int) -> Iterator[Photo]:
    """Every `step`-th photo from this place on, in the order of the shard.

    A shard that cannot be opened is one photo with a problem, that of place 0.

    Raises:
      ValueError: it has another number of records than its manifest says.
    """
    try:
      yield from self.among([range(first, self.count, step)])
    except shard_files.UnreadableShard as error:
      problem, loss = ("damaged archive", str(error)), Loss(self.path.name, self.size)
      if first == 0:
        yield Photo(self.path.name, "", problem=problem, loss=loss)

  def among(self, places: Iterable[range]) -> Iterator[Photo]:
    """The photos at these places, in their order; no other record is read.

    Raises:
      UnreadableShard: it cannot be opened.
      ValueError: it has another number of records than its manifest says.
    """
    with shard_files.opened(str(self.path)) as reader:
      check_count(str(self.path), reader.num_records(), self.count)
      for some in places:
        yield from self._read_all(reader, some)

  @property
  def is_readable(self) -> bool:
    """Whether it can be opened."""
    try:
      with shard_files.opened(str(self.path)):
        return True
    except shard_files.UnreadableShard:
      return False

  def at(self, index: int) -> Photo:
    """The photo at this place of the shard."""
    try:
      with shard_files.opened(str(self.path)) as reader:
        return self._read_alone(reader, index)
    except shard_files.UnreadableShard as error:
      return self._bad(index, str(error))

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for."""
    for index, photo in enumerate(self.photos()):
      if photo.problem:
        yield photo
      else:
        yield Photo(photo.key, photo.synset, functools.partial(self._bytes_at, index))

  def _bytes_at(self, index: int) -> bytes:
    return self.at(index).data

  def _read_all(self, reader: Any, wanted: range) -> Iterator[Photo]:
    for start in range(0, len(wanted), _AT_ONCE):
      indices = wanted[start : start + _AT_ONCE]
      try:
        if wanted.step == 1:
          some = reader.read(indices.start, indices.stop)
        else:
          some = reader.read(list(indices))
      except RuntimeError:  # One of them is damaged.
        for index in indices:
          yield self._read_alone(reader, index)
      else:
        for index, record in zip(indices, some, strict=True):
          yield self._photo(index, record)

  def _read_alone(self, reader: Any, index: int) -> Photo:
    try:
      (record,) = reader.read([index])
    except (RuntimeError, IndexError) as error:
      return self._bad(index, str(error))
    return self._photo(index, record)

  def _photo(self, index: int, record: bytes) -> Photo:
    try:
      example = records.decode(record)
    except ValueError as error:
      return self._bad(index, str(error))
    if not 0 <= example.label < len(self.classes):
      return self._bad(index, f"label {example.label} of {len(self.classes):,} classes")
    return Photo(example.key, self.classes[example.label], example.jpeg)

  def _bad(self, index: int, reason: str) -> Photo:
    return Photo(f"{self.path.name}/{index}", "", problem=("unreadable", reason))


def shards(folder: Path, split: str | None) -> list[Shard]:
  """The shards of a split; None: of all splits.

  Raises:
    ValueError: there is no such split, or a shard is missing or was cut short.
  """
  manifest = Manifest.load(folder)
  classes = manifest.classes(folder).synsets
  return [
    Shard(Path(path), shard.bytes, shard.count, classes)
    for name in ([split] if split is not None else list(manifest.splits))
    for path, shard in zip(
      manifest.shard_paths(folder, name), manifest.splits[name], strict=True
    )
  ]

"""Photos in an MXNet .rec file."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

from im21k.interop import recordio
from im21k.photos import listings
from im21k.photos.photo import Photo


@dataclasses.dataclass(frozen=True)
class Rec:
  """A .rec; the numbers of the photos are their keys.

  Attributes:
    path: the file.
    size: its bytes.
    classes: synset of each label.
  """

  path: Path
  size: int
  classes: tuple[str, ...]

  @property
  def count(self) -> None:
    """Not known: the file has no table of contents."""
    return None

  def photos(self) -> Iterator[Photo]:
    """The photos; a damaged record ends the file, for nothing says where it ends."""
    return self._photos(eager=True)

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for."""
    return self._photos(eager=False)

  def _photos(self, eager: bool) -> Iterator[Photo]:
    records = recordio.read(self.path)
    numbered = self._is_numbered()
    for position in itertools.count():
      try:
        offset, data = next(records)
      except StopIteration:
        return
      except ValueError as error:
        yield Photo(self.path.name, "", problem=("damaged archive", str(error)))
        return
      photo = self._photo(offset, data, position, numbered)
      if not eager and not photo.problem:
        read = functools.partial(self._image_at, offset)
        photo = Photo(photo.key, photo.synset, read)
      yield photo

  def _image_at(self, offset: int) -> bytes:
    return recordio.unpack(recordio.read_at(self.path, offset)).image

  def _photo(self, offset: int, data: bytes, position: int, numbered: bool) -> Photo:
    where = f"{self.path} at byte {offset}"
    try:
      record = recordio.unpack(data)
      synset = listings.class_of(record.labels, self.classes, where)
    except ValueError as error:
      key = f"{self.path.name}/{position}"
      return Photo(key, "", problem=("unreadable", str(error)))
    number = record.id if numbered else position
    return Photo(f"{synset}/{number}", synset, record.image)

  def _is_numbered(self) -> bool:
    """Whether records have numbers of their own: some writers leave all at 0."""
    first: list[int] = []
    try:
      for _, data in recordio.read(self.path):
        first.append(recordio.unpack(data).id)
        if len(first) == 2:
          break
    except ValueError:
      pass  # Reported when the photos are read.
    return first != [0, 0]

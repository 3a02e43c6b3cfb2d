"""One photo of a source, and one stream of them."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable


class Entry(NamedTuple):
  """A file that should be a photo: its key, its synset or "", and its path."""

  key: str
  synset: str
  path: str


class Loss(NamedTuple):
  """Bytes of a file with many photos that could not be read.

  Attributes:
    archive: name of the file.
    size: bytes; in the content of a gzipped file, if what is in it is damaged.
  """

  archive: str
  size: int


class Photo:
  """A photo and where it came from; its bytes may be read when they are asked for.

  Attributes:
    key: leads back to the photo: its path below the source, or below what says its
      class in an archive, with the synset first.
    synset: the synset id of its class; "" where nothing says it.
    loss: what the problem, if it is one of an archive, has cost; else None.
  """

  __slots__ = (
    "_data", "_given", "_problem", "_problem_given", "_read", "key", "loss", "synset",
  )  # fmt: skip

  def __init__(
    self,
    key: str,
    synset: str,
    data: bytes | Callable[[], bytes] = b"",
    problem: tuple[str, str] | None = None,
    loss: Loss | None = None,
  ):
    """Holds bytes, or what reads them; or the problem why there are none."""
    self.key, self.synset, self.loss = key, synset, loss
    self._given, self._problem_given = data, problem
    self._data = data if isinstance(data, bytes) else b""
    self._read = None if isinstance(data, bytes) else data
    self._problem = problem

  @property
  def data(self) -> bytes:
    """The file's bytes; none where there is a problem. Read once, in any thread."""
    self._load()
    return self._data

  @property
  def problem(self) -> tuple[str, str] | None:
    """Heading (a key of packing's RULES) and reason, if it could not be read."""
    self._load()
    return self._problem

  def named(self, key: str, synset: str) -> "Photo":
    """The same bytes as another photo."""
    return Photo(key, synset, self._given, self._problem_given, self.loss)

  def unread(self) -> "Photo":
    """The same photo without the bytes that were read since."""
    return self.named(self.key, self.synset)

  def __repr__(self) -> str:
    return f"Photo({self.key!r}, {self.synset!r})"

  def _load(self) -> None:
    if self._read is None:
      return
    try:
      self._data = self._read()
    except OSError as error:
      kind = getattr(error, "kind", "unreadable")
      self._problem = kind, error.strerror or str(error)
    self._read = None


@runtime_checkable
class Stream(Protocol):
  """A part of a source that is read from its beginning to its end; can be pickled.

  Attributes:
    size: bytes to read; 0 where they are not known.
    count: number of photos; None if it is not known before reading.
  """

  @property
  def size(self) -> int: ...

  @property
  def count(self) -> int | None: ...

  def photos(self) -> Iterator[Photo]:
    """The photos in their order; damage becomes a photo with a problem."""

  def located(self) -> Iterator[Photo]:
    """The same, but none holds bytes: each is read where it is when it is asked for.

    Raises:
      ValueError: the stream can only be read from its beginning to its end.
    """


@dataclasses.dataclass(frozen=True)
class Chosen:
  """Photos of other streams, in an order of their own."""

  chosen: tuple[Photo, ...]
  size: int = 0

  @property
  def count(self) -> int:
    """Number of photos."""
    return len(self.chosen)

  def photos(self) -> Iterator[Photo]:
    """The photos; bytes that are read stay with whoever asked for them."""
    return (photo.unread() for photo in self.chosen)

  def at(self, index: int) -> Photo:
    """The photo at this place."""
    return self.chosen[index].unread()

  located = photos

"""One photo of a source, and one stream of them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
  """A file that should be a photo: its key, its synset or "", and its path."""

  key: str
  synset: str
  path: str


class Photo:
  """A photo and where it came from; its bytes may be read when they are asked for.

  Attributes:
    key: leads back to the photo: its path below the source, with its synset first
      where the source is an archive.
    synset: the synset id of its class; "" where nothing says it.
  """

  __slots__ = ("_data", "_problem", "_read", "key", "synset")

  def __init__(
    self,
    key: str,
    synset: str,
    data: bytes | Callable[[], bytes] = b"",
    problem: tuple[str, str] | None = None,
  ):
    """Holds bytes, or what reads them; or the problem why there are none."""
    self.key, self.synset = key, synset
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

  def __repr__(self) -> str:
    return f"Photo({self.key!r}, {self.synset!r})"

  def _load(self) -> None:
    if self._read is None:
      return
    try:
      self._data = self._read()
    except OSError as error:
      self._problem = "unreadable", error.strerror or str(error)
    self._read = None


class Stream(Protocol):
  """A part of a source that is read from its beginning to its end; can be pickled.

  Attributes:
    size: bytes to read; 0 where they are not known.
    count: number of photos; None where only reading would tell.
  """

  @property
  def size(self) -> int: ...

  @property
  def count(self) -> int | None: ...

  def photos(self) -> Iterator[Photo]:
    """The photos in their order; damage becomes a photo with a problem."""

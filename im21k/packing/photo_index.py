"""Keys, labels and places of all photos, as arrays: 30 bytes a photo beside its key.

A keyed hash of each photo's key gives its place in the shuffle, so the order depends on
the seed and the keys alone: not on the order of arrival or the number of workers.
"""

import array
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import xxhash
from jaxtyping import Bool, Int, UInt8, UInt64

from im21k.photos import sources


def placer(seed: int) -> Callable[[bytes], bytes]:
  """A function from a photo's key to 16 bytes.

  The first 8 are its place in the shuffle, the last 8 its rank for being held out.
  """
  secret, hashed = seed.to_bytes(16, "little", signed=True), hashlib.blake2b
  return lambda key: hashed(key, digest_size=16, key=secret).digest()


class PhotoIndex:
  """One row a photo: its key, label and place.

  Attributes:
    labels, places: of each photo, [n] and [n, 2].
    parts: number of each photo's source [n]; None where there is one source.
  """

  def __init__(
    self,
    keys: UInt8[np.ndarray, " bytes"],
    ends: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    places: UInt64[np.ndarray, "n 2"],
    parts: Int[np.ndarray, " n"] | None = None,
  ):
    """Takes the concatenated keys, and where in them each ends."""
    self.labels, self.places, self.parts = labels, places, parts
    self._keys, self._ends = keys, ends

  @classmethod
  def of(cls, rows: dict[str, np.ndarray]) -> "PhotoIndex":
    """The index of the rows of all runs, see `run_files.gather`."""
    return cls(*(rows[name] for name in ("keys", "ends", "labels", "places", "parts")))

  @classmethod
  def read(
    cls,
    entries: Iterable[sources.Entry],
    label_of: Callable[[str, str], int | None],
    seed: int,
    skipped: Counter[str] | None = None,
    more: Iterable[Iterable[sources.Entry]] = (),
  ) -> "PhotoIndex":
    """The index of listed photos.

    Args:
      entries: photos; those of one synset follow each other.
      label_of: gives the label for synset and path, None for photos to leave out.
      seed: seed of the shuffle.
      skipped: gets the number of photos to leave out, by synset.
      more: photos of other sources.
    """
    keys, places = bytearray(), bytearray()
    ends, labels = array.array("q"), array.array("i")
    place = placer(seed)
    stops: list[int] = []
    for of_part in (entries, *more):
      latest: str | None = None
      label: int | None = None
      for name, synset, path, _ in of_part:
        if synset != latest:
          latest, label = synset, label_of(synset, path)
        if label is None:
          if skipped is not None:
            skipped[synset] += 1
          continue
        key = name.encode("utf-8", "surrogateescape")
        keys += key
        ends.append(len(keys))
        labels.append(label)
        places += place(key)
      stops.append(len(ends))
    counts = np.diff(stops, prepend=0)
    return cls(
      np.frombuffer(keys, np.uint8),
      np.frombuffer(ends, np.int64),
      np.frombuffer(labels, np.int32),
      np.frombuffer(places, "<u8").reshape(-1, 2),
      np.repeat(np.arange(len(stops), dtype=np.int16), counts)
      if len(stops) > 1
      else None,
    )

  def __len__(self) -> int:
    return len(self.labels)

  def key(self, row: int) -> bytes:
    """The key of the photo in a row."""
    start = self._ends[row - 1] if row else 0
    return self._keys[start : self._ends[row]].tobytes()

  def name(self, row: int) -> str:
    """The key of the photo in a row, for messages."""
    return self.key(row).decode("utf-8", "backslashreplace")

  def keys(self, rows: Int[np.ndarray, " k"]) -> list[bytes]:
    """The keys of the photos in these rows."""
    starts = np.where(rows > 0, self._ends[rows - 1], 0).tolist()
    view = self._keys.data
    spans = zip(starts, self._ends[rows].tolist(), strict=True)
    return [bytes(view[start:end]) for start, end in spans]

  def digest(self) -> str:
    """A hash of all keys and labels."""
    digest = xxhash.xxh3_128(np.ascontiguousarray(self._keys).data)
    digest.update(np.ascontiguousarray(self.labels).data)
    return digest.hexdigest()

  def repeated(self) -> Bool[np.ndarray, " n"]:
    """Mask of the photos whose key an earlier row has too."""
    mask = np.zeros(len(self), bool)
    order = np.argsort(self.places[:, 0], kind="stable")
    same = self.places[order[1:], 0] == self.places[order[:-1], 0]
    for at in np.flatnonzero(same) + 1:
      if self.key(order[at]) == self.key(order[at - 1]):
        mask[order[at]] = True
    return mask

  def lowest_ranks(self, quota: Callable[[int], int]) -> Bool[np.ndarray, " n"]:
    """Mask of the `quota(class size)` photos of each class with the lowest rank."""
    order = np.lexsort((self.places[:, 1], self.labels))
    sizes = np.bincount(self.labels)
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(order)) - starts[self.labels[order]]
    quotas = np.array([quota(size) for size in sizes.tolist()])
    mask = np.zeros(len(order), bool)
    mask[order] = rank < quotas[self.labels[order]]
    return mask

  def with_keys(self, keys: frozenset[bytes]) -> Bool[np.ndarray, " n"]:
    """Mask of the photos with these keys."""
    return np.array([self.key(row) in keys for row in range(len(self))], bool)

"""Photos packed and left out -> how many of them each of several sources brought."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool

from im21k import words
from im21k.dataset.source_rows import SourceOf
from im21k.packing.outcomes import Rejection
from im21k.packing.parts import Parts
from im21k.packing.photo_index import PhotoIndex


def placed(
  parts: Parts, index: PhotoIndex, mask: Bool[np.ndarray, " n"]
) -> tuple[int, ...]:
  """Number of the masked photos of each source."""
  if index.parts is None:
    return (int(mask.sum()),)
  counts = np.bincount(index.parts[mask], minlength=len(parts.parts))
  return tuple(map(int, counts))


def rows(
  parts: Parts,
  placed: Sequence[int],
  not_written: Iterable[Rejection],
  rejected: Iterable[Rejection],
) -> tuple[SourceOf, ...]:
  """The rows of a manifest; none for one source that the options divide.

  Args:
    parts: the sources.
    placed: number of photos of each that have a place in a shard.
    not_written: rejections of such photos.
    rejected: all rejections.
  """
  if parts.is_one:
    return ()
  missing, all_of = _by_part(parts, not_written), _by_part(parts, rejected)
  return tuple(
    SourceOf(
      part.name,
      part.split,
      placed[number] - missing[number],
      all_of[number],
      ", ".join(file.name for file in part.source.files),
    )
    for number, part in enumerate(parts)
  )


def text(sources: Iterable[SourceOf]) -> list[str]:
  """A line for each source."""
  return [
    f"{one.split or 'divided'}: {words.counted(one.packed, 'photo')} of "
    f"{words.visible(one.name)}"
    + (f", {one.rejected:,} rejected" if one.rejected else "")
    + (f", labels of {words.visible(one.labels)}" if one.labels else "")
    for one in sources
  ]


def _by_part(parts: Parts, rejections: Iterable[Rejection]) -> Counter[int]:
  return Counter(parts.number_of(one.key, one.archive) for one in rejections)

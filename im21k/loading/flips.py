"""Key of a photo, seed and pass -> whether the photo is mirrored in that pass."""

import xxhash

ALTERNATING = "alternating"
_MASK = 2**64 - 1  # Seeds of the hash have 64 bits.


def alternates(key: str, seed: int, number: int) -> bool:
  """Whether the photo is mirrored in this pass, counted from 0.

  In its first pass a photo is mirrored by a hash of its key, in each later one if it
  was not in the one before (Jordan 2024, arXiv:2404.00498). So two passes show both
  sides of every photo, which lots show of half of them only.
  """
  digest = xxhash.xxh3_64_intdigest(
    key.encode("utf-8", "surrogateescape"), seed & _MASK
  )
  return bool((digest + number) % 2)

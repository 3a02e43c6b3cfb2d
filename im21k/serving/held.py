"""Probabilities of the latest photos, by a name that nobody guesses."""

import collections
import secrets

import numpy as np
from jaxtyping import Float32

_MOST_BYTES = 64 << 20  # 768 photos with 21,841 classes.


class Held:
  """What was computed lately, so that other answers need no other pass."""

  def __init__(self, most_bytes: int = _MOST_BYTES):
    """Holds nothing yet, and later `most_bytes` at most."""
    self._most, self._bytes = most_bytes, 0
    self._rows: collections.OrderedDict[str, Float32[np.ndarray, " classes"]]
    self._rows = collections.OrderedDict()

  def add(self, row: Float32[np.ndarray, " classes"]) -> str:
    """Keeps a photo's probabilities; returns their id."""
    one = secrets.token_urlsafe(12)
    self._rows[one] = row.copy()  # Not a view, which would hold the batch.
    self._bytes += row.nbytes
    while self._bytes > self._most and len(self._rows) > 1:
      _, oldest = self._rows.popitem(last=False)
      self._bytes -= oldest.nbytes
    return one

  def get(self, one: str) -> Float32[np.ndarray, " classes"] | None:
    """The probabilities of this id; None where they are held no longer."""
    row = self._rows.get(one)
    if row is not None:
      self._rows.move_to_end(one)
    return row

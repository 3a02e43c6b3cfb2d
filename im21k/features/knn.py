"""Labelled vectors -> answers of the nearest ones, by the protocol of DINO.

Neighbours by cosine similarity vote for their class with weight exp(similarity / 0.07):
Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance
Discrimination"; `eval_knn.py` of DINO (Caron et al. 2021) does the same.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

K = (10, 20, 100, 200)
_TEMPERATURE = 0.07
_BYTES = 64 << 20  # Of similarities, and of votes, at a time.


def ranks(
  train: Float[np.ndarray, "n d"],
  train_labels: Int[np.ndarray, " n"],
  photos: Float[np.ndarray, "m d"],
  labels: Int[np.ndarray, " m"],
  num_classes: int,
  ks: Sequence[int] = K,
) -> dict[int, Int[np.ndarray, " m"]]:
  """By k, how many classes have more votes than the right one, for each photo.

  Of classes with as many votes the lower label is first. A class without any vote is
  no answer, so the rank is num_classes where the right one has none.

  Args:
    train: vectors that are known.
    train_labels: from 0 to num_classes - 1.
    photos: vectors to answer.
    labels: their right labels.
    num_classes: number of classes.
    ks: numbers of neighbours, each at most n.
  """
  known = _unit(train)
  most = max(ks)
  found = {k: np.empty(len(photos), np.int64) for k in ks}
  rows = max(1, _BYTES // (4 * max(len(train), num_classes)))
  for begin in range(0, len(photos), rows):
    part = slice(begin, begin + rows)
    similar = _unit(photos[part]) @ known.T
    near = np.argpartition(-similar, most - 1, axis=1)[:, :most]
    near.sort(axis=1)  # The first of equals, whatever argpartition does with them.
    values = np.take_along_axis(similar, near, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    weights = np.exp(np.take_along_axis(values, order, axis=1) / _TEMPERATURE)
    for k in ks:
      votes = np.zeros((len(similar), num_classes))
      at = np.arange(len(similar))[:, None]
      np.add.at(votes, (at, train_labels[near[:, :k]]), weights[:, :k])
      found[k][part] = np.where(
        votes[at[:, 0], labels[part]] > 0, rank(votes, labels[part]), num_classes
      )
  return found


def rank(
  scores: Float[np.ndarray, "m classes"], labels: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " m"]:
  """How many classes come before the right one; of equals the lower label does."""
  own = scores[np.arange(len(labels)), labels][:, None]
  before = np.arange(scores.shape[1]) < labels[:, None]
  count: npt.NDArray[np.int64] = ((scores > own) | ((scores == own) & before)).sum(1)
  return count


def _unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
  x = vectors.astype(np.float32)
  # Numbers of any size: their squares could be beyond float32.
  x /= np.maximum(np.abs(x).max(1, keepdims=True), np.finfo(np.float32).tiny)
  x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)
  return x

"""Files of features -> vectors to learn from and others to answer, of one class list.

Classes are matched by their ids, for two files may number them differently.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash
from jaxtyping import Float, Int

from im21k import words
from im21k.features import held_out, npz
from im21k.features.npz import Features

_SHARE = 0.2
# What must be the same of two files, for their numbers to mean the same.
_SAME = ("weights", "input", "stage", "shape")


class Samples(NamedTuple):
  """Vectors with classes.

  Attributes:
    values: `[n, d]`, as they were written.
    labels: `[n]`, indices of the classes that can be learned.
  """

  values: Float[np.ndarray, "n d"]
  labels: Int[np.ndarray, " n"]


def of_two(train: Path, features: Path) -> tuple[Samples, Samples, dict[str, Any]]:
  """All of one file to learn from, all of another to answer.

  Returns:
    Both, and what is known of them: `stage`, `classes` (ids by label), `unknown`
    (number of photos left out, by class that training lacks), `counts`.

  Raises:
    FileNotFoundError, ValueError: as of `probe`.
  """
  if os.path.realpath(train) == os.path.realpath(features):
    raise ValueError(
      f"train is {train}, the features that are answered: leave train out to hold out "
      "some of them"
    )
  known, asked = _read(train), _read(features)
  for name in _SAME:
    first, second = (one.about["asked"].get(name) for one in (known, asked))
    if first != second:
      raise ValueError(
        f"{train} has {name} {first!r}, but {features} {second!r}: compute both with "
        "the same weights and options"
      )
  ids = sorted(set(_ids(known)) - {""})
  _check_classes(ids, train)
  learned, wanted = _labelled(known, ids), _labelled(asked, ids)
  lacking = [name for name in _ids(asked) if name and name not in set(ids)]
  unlabelled = int((known.labels < 0).sum() + (asked.labels < 0).sum())
  if not len(wanted.labels):
    raise ValueError(
      f"{features}: none of {words.counted(len(asked.labels), 'photo')} has a class "
      f"that {train} has"
    )
  return learned, wanted, _about(known, ids, learned, wanted, lacking, unlabelled, 0)


def of_one(
  features: Path, share: float | None, number: int | None, seed: int
) -> tuple[Samples, Samples, dict[str, Any]]:
  """Some of each class of a file to answer, the others to learn from.

  Args:
    features: the file or folder.
    share: of each class to answer; None: 0.2, unless there is a number.
    number: of each class to answer, instead.
    seed: of which.

  Returns:
    As `of_two`.

  Raises:
    FileNotFoundError, ValueError: as of `probe`.
  """
  if share is not None and number is not None:
    raise ValueError("eval_fraction and eval_per_class exclude each other: give one")
  if share is not None and not 0 < share < 1:
    raise ValueError(f"eval_fraction is {share}, but must be above 0 and below 1")
  if number is not None and number < 1:
    raise ValueError(f"eval_per_class is {number}, but must be at least 1")
  if seed < 0:
    raise ValueError(f"seed is {seed}, but must be at least 0")
  read = _read(features)
  ids = sorted(set(_ids(read)) - {""})
  _check_classes(ids, features)
  all_of_them = _labelled(read, ids)
  if number is None:
    taken = held_out.share_of_each(all_of_them.labels, share or _SHARE, seed)
  else:
    taken = held_out.number_of_each(all_of_them.labels, number, seed)
  if not taken.any():
    raise ValueError(
      f"{features}: every class has one photo, so none can be held out: give features "
      "of other photos as train"
    )
  learned, wanted = (
    Samples(all_of_them.values[which], all_of_them.labels[which])
    for which in (~taken, taken)
  )
  alone = int((np.bincount(all_of_them.labels) == 1).sum())
  unlabelled = int((read.labels < 0).sum())
  return learned, wanted, _about(read, ids, learned, wanted, [], unlabelled, alone)


def _about(
  read: Features,
  ids: list[str],
  learned: Samples,
  wanted: Samples,
  lacking: list[str],
  unlabelled: int,
  alone: int,
) -> dict[str, Any]:
  seen = {xxhash.xxh3_128_digest(row.tobytes()) for row in learned.values}
  same = sum(xxhash.xxh3_128_digest(row.tobytes()) in seen for row in wanted.values)
  counts = {"unlabelled": unlabelled, "unknown": len(lacking), "alone": alone}
  return {
    "stage": read.about["asked"]["stage"],
    "classes": ids,
    "unknown": dict(Counter(lacking).most_common()),
    "counts": {**counts, "same": same},
  }


def _read(path: Path) -> Features:
  """Features of which each is a vector; ValueError otherwise."""
  read = npz.read(path)
  if read.values.ndim != 2:
    stage, shape = read.about["asked"].get("stage"), list(read.values.shape[1:])
    raise ValueError(
      f"{path}: stage {stage} is {shape} a photo, but must be a vector: compute the "
      "stage features"
    )
  return read


def _ids(read: Features) -> list[str]:
  """The class id of each photo; "" where it has none."""
  names = read.classes.tolist()
  return [names[label] if label >= 0 else "" for label in read.labels.tolist()]


def _labelled(read: Features, ids: list[str]) -> Samples:
  """The photos of these classes, with labels that index them."""
  place = {name: at for at, name in enumerate(ids)}
  labels = np.array([place.get(name, -1) for name in _ids(read)], np.int64)
  return Samples(read.values[labels >= 0], labels[labels >= 0])


def _check_classes(ids: list[str], path: Path) -> None:
  if not ids:
    raise ValueError(
      f"{path}: no photo has a class: compute features of photos in class folders, or "
      "of packed ones"
    )
  if len(ids) == 1:
    raise ValueError(f"{path}: all photos are of class {ids[0]}, but a probe needs two")

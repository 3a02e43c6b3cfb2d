"""Weights and packed photos -> the same trunk with a head fitted to its features."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, Int
from tqdm import tqdm

from im21k import photos, synsets, weights
from im21k.features import logistic, stream
from im21k.training.outputs import say
from im21k.weights import heads

FIT = "head"  # Key of what is known of the fit.
MOST = 50_000  # Photos that a head is fitted to; packing has shuffled them.


def fitted(
  released: weights.Weights,
  classes: synsets.ClassList,
  data: Path,
  *,
  devices: Sequence[jax.Device],
  batch_size: int,
  is_start: bool = False,
) -> weights.Weights:
  """The weights with a head for the classes of packed photos, by logistic regression.

  Args:
    released: weights whose trunk computes the features.
    classes: the class list of the packed photos.
    data: folder of packed photos, of which `train` is used, or its first `MOST` photos.
    devices: that share each batch.
    batch_size: photos at a time, over all devices.
    is_start: whether all parameters will be trained from there; else classes without
      photos are never answered.

  Returns:
    The weights, whose `config` has what is known of the fit: `l2`, `photos`, `bad`,
    and `empty`, the number of classes without a photo.

  Raises:
    ValueError: the model has no head, or fewer than two classes have photos.
  """
  made = heads.with_classes(released, classes, "fresh")
  features, labels, bad = _features(released, classes, data, devices, batch_size)
  found = logistic.choose(features, labels, len(classes))
  empty = np.bincount(labels, minlength=len(classes)) == 0
  # In a training that begins here, the others of these classes may come yet.
  lowest = found.bias[~empty].min() if is_start else found.bias
  head = {"kernel": found.kernel, "bias": np.where(empty, lowest, found.bias)}
  old = made.variables["params"][heads.HEAD]
  head = {name: np.asarray(head[name], old[name].dtype) for name in old}
  made.variables["params"][heads.HEAD] = head
  about = {"l2": found.l2, "photos": len(labels), "bad": bad, "empty": int(empty.sum())}
  return dataclasses.replace(made, config={FIT: about})


def _features(
  released: weights.Weights,
  classes: synsets.ClassList,
  data: Path,
  devices: Sequence[jax.Device],
  batch_size: int,
) -> tuple[Float32[np.ndarray, "n d"], Int[np.ndarray, " n"], int]:
  """Pooled features of the train photos, their labels, and how many were bad."""
  source = photos.open(data, split="train", classes=classes)
  if source.count is not None and source.count > MOST:
    say(f"the head is fitted to the features of the first {MOST:,} photos")
  values, labels, bad = [], [], 0
  with tqdm(
    total=source.count, desc="features", unit=" photos", disable=None
  ) as progress:
    for rows in stream.extract(
      released, source, devices=devices, batch_size=batch_size
    ):
      values.append(rows.values)
      labels += [classes.index(synset) for synset in rows.synsets]
      bad += len(rows.bad)
      progress.update(rows.read)
      if len(labels) >= MOST:
        break
  return np.concatenate(values)[:MOST], np.array(labels)[:MOST], bad

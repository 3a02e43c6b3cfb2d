"""Weights and packed photos -> the same trunk with a head fitted to its features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int
from tqdm import tqdm

from im21k import photos, synsets, weights
from im21k.features import logistic, stream
from im21k.training.outputs import say
from im21k.weights import heads

MOST = 50_000  # Photos that a head is fitted to; packing has shuffled them.


def fitted(
  released: weights.Weights,
  classes: synsets.ClassList,
  data: Path,
  *,
  devices: Sequence[jax.Device],
  batch_size: int,
) -> tuple[weights.Weights, dict[str, Any]]:
  """The weights with a head for the classes of packed photos, by logistic regression.

  Args:
    released: weights whose trunk computes the features.
    classes: the class list of the packed photos.
    data: folder of packed photos, of which `train` is used, or its first `MOST` photos.
    devices: that share each batch.
    batch_size: photos at a time, over all devices.

  Returns:
    The weights, and what is known of the fit: `l2`, `photos`, `bad`.

  Raises:
    ValueError: the model has no head, or fewer than two classes have photos.
  """
  made = heads.with_classes(released, classes, "fresh")
  features, labels, bad = _features(released, classes, data, devices, batch_size)
  found = logistic.choose(features, labels, len(classes))
  head = {"kernel": found.kernel, "bias": found.bias}
  old = made.variables["params"][heads.HEAD]
  head = {name: np.asarray(head[name], old[name].dtype) for name in old}
  made.variables["params"][heads.HEAD] = head
  about = {"l2": found.l2, "photos": len(labels), "bad": bad}
  return made, about


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

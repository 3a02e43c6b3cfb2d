"""Weights and labelled photos -> their logits in memory, for what needs all classes."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from im21k import weights, words
from im21k.evaluation import inputs, results
from im21k.loading import scoring
from im21k.photos import Source

_FIRST = 4_096  # Photos for which there is memory from the beginning.


@dataclasses.dataclass(frozen=True)
class Outputs:
  """Logits of the photos that can be decoded and whose class the weights know.

  Attributes:
    logits: float32 `[n, classes]`.
    labels: `[n]`, the right classes.
    positions: `[n]`, of each photo in the source.
    unknown: photos left out because the weights lack their class, by synset.
    bad: photos that were left out since they cannot be decoded or have no class.
  """

  logits: Float[np.ndarray, "n classes"]
  labels: Int[np.ndarray, " n"]
  positions: Int[np.ndarray, " n"]
  unknown: Counter[str]
  bad: list[results.Bad]

  def counts(self) -> dict[str, int]:
    """`used`, `unknown` and `bad`, which sum to `photos`, those that were read."""
    parts = {
      "used": len(self.labels), "unknown": self.unknown.total(), "bad": len(self.bad)
    }  # fmt: skip
    return {"photos": sum(parts.values()), **parts}


def compute(
  released: weights.Weights,
  photos: Source,
  *,
  most: int,
  batch_size: int,
) -> Outputs:
  """Logits of the first photos that can be used, on one device.

  Args:
    released: the weights.
    photos: of any source, see `inputs.open_shuffled`.
    most: how many at most; each takes 4 bytes a class.
    batch_size: photos at a time.

  Raises:
    ValueError: most is below 1, or no photo can be used.
  """
  if most < 1:
    raise ValueError(f"images is {most}, but must be at least 1")
  inputs.check_batch(batch_size, released.input.size)
  loader = scoring.ScoreLoader(
    photos,
    released.classes,
    batch_size=batch_size,
    devices=1,
    image_size=released.input.size,
    short_side=released.input.short_side,
  )
  run = _forward(released)
  most = min(most, most if photos.count is None else photos.count)
  # Of an archive the number of photos is known at its end.
  logits = np.empty((min(most, _FIRST), len(released.classes)), np.float32)
  labels: list[int] = []
  positions: list[int] = []
  unknown: Counter[str] = Counter()
  bad: list[results.Bad] = []
  with tqdm(total=most, unit=" photos", disable=None) as progress:
    for number, (batch, examples) in enumerate(loader):
      kept = []
      for index, example in enumerate(examples):
        if len(labels) == most:
          break
        if example.error is not None:
          bad.append(results.bad_of(example))
        elif example.label is None:
          unknown[example.synset] += 1
        else:
          kept.append(index)
          labels.append(example.label)
          positions.append(number * batch_size + index)
      begin = len(labels) - len(kept)
      if len(labels) > len(logits):
        room = min(most, max(len(labels), 2 * len(logits)))
        logits.resize((room, logits.shape[1]), refcheck=False)
      logits[begin : len(labels)] = np.asarray(run(batch["image"][0]))[kept]
      progress.update(len(kept))
      if len(labels) == most:
        break
  if not labels:
    raise ValueError(
      f"none of {words.counted(len(bad) + unknown.total(), 'photo')} can be used: "
      f"{len(bad):,} cannot "
      f"be decoded or have no class{results.first_of(bad)}, {unknown.total():,} are of "
      "classes that the weights do not know"
    )
  return Outputs(
    logits[: len(labels)], np.array(labels), np.array(positions), unknown, bad
  )


def _forward(released: weights.Weights) -> Callable[[Any], jax.Array]:
  """A function uint8 `[b, h, w, 3]` RGB -> float32 `[b, classes]`."""
  model, prepared = released.model, released.input

  @jax.jit
  def run(variables: Any, images: jax.Array) -> jax.Array:
    inputs = weights.normalize(images, prepared.mean, prepared.std)
    logits: jax.Array = model.apply(variables, inputs, train=False)[0]
    return logits

  return lambda images: run(released.variables, images)

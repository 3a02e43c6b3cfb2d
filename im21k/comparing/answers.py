"""Weights and the same photos -> which photos each set of weights has right."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from im21k import parallel, weights
from im21k.evaluation import inputs, results, score
from im21k.loading import scoring

_NO_ANSWER = np.iinfo(np.int64).max  # Rank of a class that cannot be answered.


@dataclasses.dataclass(frozen=True)
class Answers:
  """Ranks of the right class in the answers of several sets of weights.

  Attributes:
    ranks: of each set of weights `[n]`: classes before the right one.
    classes: how many could be answered.
    all_classes: whether these are all that the weights know.
    photos: that were read; of these `left` are of classes that not all weights know,
      and `bad` cannot be decoded or have no class.
  """

  ranks: list[Int[np.ndarray, " n"]]
  classes: int
  all_classes: bool
  photos: int
  left: int
  bad: list[results.Bad]


def compute(
  released: Sequence[weights.Weights],
  data: Path,
  split: inputs.Split | None,
  *,
  most: int,
  batch_size: int,
) -> Answers:
  """Scores all weights on the same photos, each prepared as its weights need it.

  Where the class lists are the same, all classes are answers, and a photo of another
  class counts as wrong, as in `im21k evaluate`. Where they differ, the answers are the
  classes that all have, and photos of others are left out.

  Args:
    released: the weights.
    data: as of `inputs.open_shuffled`: of more than `most` photos, a fair sample.
    split: of packed photos.
    most: photos to read.
    batch_size: photos at a time, over all devices.

  Raises:
    ValueError: the lists share no class, no photo can be scored, or the photos changed
      meanwhile.
  """
  lists = [one.classes.synsets for one in released]
  shared = set(lists[0]).intersection(*lists[1:])
  is_same = all(one == lists[0] for one in lists)
  if not shared:
    raise ValueError("the runs have no class in common: there is nothing to compare")
  on = inputs.devices_for(None)
  read = [
    _read(one, data, split, None if is_same else shared, most, batch_size, on)
    for one in released
  ]
  items = read[0][0]
  for other, _ in read[1:]:
    if [_of(item) for item in other] != [_of(item) for item in items]:
      raise ValueError(
        f"{data}: the photos are not the same for all runs: they changed while they "
        "were read, or their labels are numbers and the class lists differ"
      )
  sound = [at for at, item in enumerate(items) if item.error is None]
  used = [at for at in sound if is_same or items[at].synset in shared]
  bad = [results.bad_of(item) for item in items if item.error is not None]
  if not used:
    raise ValueError(
      f"{data}: none of {len(items):,} photos can be scored: {len(bad):,} cannot be "
      f"decoded or have no class{results.first_of(bad)}, {len(sound):,} are of classes "
      "that not all weights know"
    )
  ranks = [np.array(one, np.int64)[used] for _, one in read]
  left = len(sound) - len(used)
  count = len(lists[0]) if is_same else len(shared)
  return Answers(ranks, count, is_same, len(items), left, bad)


def _read(
  released: weights.Weights,
  data: Path,
  split: inputs.Split | None,
  shared: set[str] | None,
  most: int,
  batch_size: int,
  on: Sequence[jax.Device],
) -> tuple[list[scoring.Item], list[int]]:
  """The photos, and the rank of the right class of each, among those in `shared`."""
  prepared, classes = released.input, released.classes
  inputs.check_batch(batch_size, prepared.size)
  photos = inputs.open_shuffled(data, split, classes=classes)
  loader = scoring.ScoreLoader(
    photos,
    classes,
    batch_size=batch_size,
    devices=len(on),
    image_size=prepared.size,
    short_side=prepared.short_side,
  )
  allowed = None
  if shared is not None:
    allowed = np.array([one in shared for one in classes.synsets])
  step = parallel.eval_step(
    score.rank_step(released.model, prepared.mean, prepared.std, {"": allowed}), on
  )
  placed = parallel.place(released.variables, on)
  items: list[scoring.Item] = []
  ranks: list[int] = []
  with tqdm(total=most, desc="compare", unit=" photos", disable=None) as progress:
    for batch, examples in loader:
      found: Any = jax.device_get(step(placed, batch))[""]["rank"]
      for item, rank in list(zip(examples, found, strict=False))[: most - len(items)]:
        items.append(item)
        ranks.append(_NO_ANSWER if item.label is None else int(rank))
      progress.update(len(items) - progress.n)
      if len(items) == most:
        break
  return items, ranks


def _of(item: scoring.Item) -> tuple[str, str, bool]:
  """Which photo it is."""
  return item.key, item.synset, item.error is None

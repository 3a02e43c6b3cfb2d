"""Number of photos -> what is trained, for how long and at which rate, and why.

Duration and rate are BiT's rule of thumb (Kolesnikov et al. 2020, "Big Transfer",
section 3.3), with a cosine where it has steps.
"""

import dataclasses
from typing import Any, Literal

from im21k import weights, words
from im21k.training.config import Config

Trunk = Literal["auto", "frozen", "train"]

# Photos to train on, up to which: steps of the warm-up, and in all.
_STEPS = ((20_000, 100, 500), (500_000, 500, 10_000), (None, 500, 20_000))
_MIXUP_FROM, _MIXUP = 20_000, 0.1
_RATE = 0.003
_LARGEST_BATCH, _LARGEST_ON_DEVICE = 512, 64
_STEPS_A_PASS = 4  # At least, of small data.
# With fewer, what training all parameters adds is within the deviation, for several
# times the processor time: benchmarks/transfer.py.
FEW = 20_000


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a network is fine-tuned.

  Attributes:
    trunk: `frozen`, or `train` after a frozen one has given the head its start.
    why: the reason, for people.
    batch_size, steps, warmup, rate, mixup: of the training of all parameters.
  """

  trunk: Literal["frozen", "train"]
  why: str
  batch_size: int
  steps: int
  warmup: int
  rate: float
  mixup: float


def choose(
  photos: int,
  devices: int,
  trunk: Trunk = "auto",
  steps: int | None = None,
  batch_size: int | None = None,
  rate: float | None = None,
) -> Recipe:
  """The recipe for so many photos to train on; what is given stays as it is.

  Raises:
    ValueError: something is given for a training that does not take place.
  """
  warmup, usual = next(row[1:] for row in _STEPS if row[0] is None or photos < row[0])
  batch = batch_size or _batch(photos, devices)
  if trunk == "auto":
    few = photos < FEW
    chosen: Literal["frozen", "train"] = "frozen" if few else "train"
    how = "fewer than" if few else "at least"
    why = f"{words.counted(photos, 'photo')}, {how} {FEW:,}"
  else:
    chosen, why = trunk, "as asked"
  given = {"steps": steps, "batch_size": batch_size, "rate": rate}
  if chosen == "frozen" and (
    named := [name for name, value in given.items() if value is not None]
  ):
    raise ValueError(
      f"{named[0]} is for the training of all parameters, but the trunk is frozen "
      f"({why}): leave it out, or set trunk to train"
    )
  total = usual if steps is None else steps
  return Recipe(
    trunk=chosen,
    why=why,
    batch_size=batch,
    steps=total,
    warmup=min(warmup, total // 5),
    rate=_RATE if rate is None else rate,
    mixup=_MIXUP if photos >= _MIXUP_FROM else 0.0,
  )


def config(
  recipe: Recipe,
  released: weights.Weights,
  *,
  data: str,
  start: str | None,
  devices: int,
  seed: int,
) -> Config:
  """The run that trains all parameters.

  Args:
    recipe: how.
    released: weights whose network it is.
    data: packed photos, with their class list.
    start: release folder with these classes to start from; None: random numbers.
    devices: how many share a batch.
    seed: of order and augmentation.
  """
  fields = {k: v for k, v in released.model_fields.items() if k != "num_classes"}
  document: dict[str, Any] = {
    "data": data,
    "classes": data,
    "model": {"name": released.model_name, **fields},
    "init": {"weights": start, "head": "keep"} if start else None,
    "total": {"steps": recipe.steps},
    "batch_size": recipe.batch_size,
    "schedule": {
      "name": "cosine", "peak": recipe.rate, "warmup": {"steps": recipe.warmup},
    },
    "optimizer": {"momentum": 0.9, "weight_decay": 0.0},
    "augment": {"crop": "inception", "mirror": True, "order": "global"},
    "mix": {"mixup": recipe.mixup},
    "image_size": released.input.size,
    "short_side": released.input.short_side,
    "mean": released.input.mean,
    "std": released.input.std,
    "devices": devices,
    "seed": seed,
    "log_every": {"steps": max(1, recipe.steps // 20)},
    "eval_every": {"steps": max(1, recipe.steps // 5)},
    "save_every": {"steps": max(1, recipe.steps // 5)},
  }  # fmt: skip
  return Config.from_dict(document)


def _batch(photos: int, devices: int) -> int:
  """A power of two for each device, with some steps in each pass of small data."""
  most = min(_LARGEST_BATCH, photos // _STEPS_A_PASS, _LARGEST_ON_DEVICE * devices)
  each = max(1, most // devices)
  return devices * max(4, 1 << (each.bit_length() - 1))

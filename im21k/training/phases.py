"""The section `phases` of a config: sizes of the photos and of the batch over time."""

import dataclasses
import itertools

from im21k.training.durations import Durations
from im21k.training.keys import REQUIRED, key
from im21k.training.values import Bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phases:
  """Keys of the phases before the last, which has `image_size` and `batch_size`."""

  image_sizes: tuple[int, ...] = key(
    (), "Side of the model's input in each phase but the last, which has image_size; "
    "none: image_size in all.", "pixels", bounds=Bounds(1, 2**13),
  )  # fmt: skip
  batch_sizes: tuple[int, ...] = key(
    (), "Examples a step in each phase but the last, which has batch_size; none: "
    "batch_size in all. Learning rates stay as they are.", "examples",
    bounds=Bounds(1, 2**20),
  )  # fmt: skip
  until: Durations = key(REQUIRED, "Ends of all phases but the last, since the start.")

  def __post_init__(self) -> None:
    ends = self.until.amounts
    if not ends or any(a >= b for a, b in itertools.pairwise(ends)):
      raise ValueError(
        f"phases.until is {', '.join(f'{end:g}' for end in ends) or 'empty'}, but must "
        "be ascending ends of phases, at least one"
      )
    if not self.image_sizes and not self.batch_sizes:
      raise ValueError(
        "phases has neither image_sizes nor batch_sizes: set one of them, or leave out "
        "phases"
      )
    for name in ("image_sizes", "batch_sizes"):
      count = len(getattr(self, name))
      if count not in (0, len(ends)):
        raise ValueError(
          f"phases.{name} has {count} numbers, but phases.until has {len(ends)}: give "
          "one for each phase but the last"
        )

  def sizes(self, image_size: int, batch_size: int) -> list[tuple[int, int]]:
    """Side and batch of every phase; those of the last are given."""
    count = len(self.until.amounts)
    sides = (*(self.image_sizes or (image_size,) * count), image_size)
    batches = (*(self.batch_sizes or (batch_size,) * count), batch_size)
    return list(zip(sides, batches, strict=True))

"""The sections `augment` and `reference` of a config, each key declared once."""

import dataclasses
from typing import Literal

from im21k.loading.config import LANES, check_area
from im21k.photos import crops
from im21k.training.keys import REQUIRED, key
from im21k.training.values import SHARE, Bounds

COUNT = Bounds(1, 10**9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
  """How the loader makes an example of a photo; see `loading.train.TrainLoader`."""

  crop: Literal["straight", "inception"] = key(
    "straight",
    "Crop a square of the downscaled photo, as in the original (straight), or a random "
    "area and aspect (inception).",
  )
  area: tuple[float, ...] = key(
    crops.USUAL_AREA,
    "Least and largest share of the photo's area that an inception crop takes.",
    bounds=Bounds(0, 1, above=True),
  )
  mirror: bool | Literal["alternating"] = key(
    True,
    "Mirror every second photo by lot (true), none (false), or half in the first pass, "
    "then those that the pass before did not (alternating).",
  )
  order: Literal["blockwise", "global"] = key(
    "blockwise",
    "Shuffle blocks of consecutive records (blockwise: disks), or all records (global: "
    "SSDs).",
  )
  lanes: int = key(
    LANES,
    "Parts of a blockwise order that have blocks of their own: hosts share them, so "
    "their number must divide it. 1: the order of runs before there was this key.",
    bounds=Bounds(1, 2**10),
  )
  max_bad_share: float = key(
    0.001,
    "Stop if a larger share of the photos cannot be decoded.",
    fixed=False,
    bounds=SHARE,
  )

  def __post_init__(self) -> None:
    try:
      check_area(self.area, self.crop)
    except ValueError as error:
      raise ValueError(f"augment: {error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
  """Marks in the learning curve: what another run reached at the end of each pass."""

  label: str = key(REQUIRED, "Name in the legend of the learning curve.", fixed=False)
  images_per_pass: int = key(
    REQUIRED, "Length of a pass.", "images", fixed=False, bounds=COUNT
  )
  top_1: tuple[float, ...] = key(
    REQUIRED,
    "Train top-1 accuracy at the end of each pass.",
    "percent",
    fixed=False,
    bounds=Bounds(0, 100),
  )

"""Photos and answers -> a PNG; photos -> thumbnails."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from im21k import files
from im21k.photos import crops

# A picture of more would be taller than what can be drawn.
MOST_PHOTOS, _MOST_CLASSES = 50, 20
_LONGER_SIDE = 480  # Of a photo in the picture, pixels.
_LONGEST_NAME = 64


def draw_predictions(
  path: Path, photos: list[UInt8[np.ndarray, "_ _ 3"]], tops: list[list[dict[str, Any]]]
) -> None:
  """Draws each photo beside bars of its most likely classes, one row for each photo.

  Args:
    path: PNG file to write.
    photos: at most `MOST_PHOTOS`, uint8 `[h, w, 3]` RGB.
    tops: `name` and `probability` of each photo's classes; only 20 are drawn.
  """
  from matplotlib.figure import Figure

  tops = [top[:_MOST_CLASSES] for top in tops]
  height = max(2.4, 0.3 * max(len(top) for top in tops))
  figure = Figure(figsize=(9, height * len(photos)), layout="constrained")
  grid = figure.subplots(len(photos), 2, squeeze=False, width_ratios=(1, 2))
  for (left, right), photo, top in zip(grid, photos, tops, strict=True):
    left.imshow(photo)
    left.axis("off")
    right.barh(range(len(top)), [t["probability"] for t in top], color="#c7d6e6")
    for place, t in enumerate(top):
      right.text(0.01, place, _shortened(t["name"]), va="center", size=9)
      share = f"{t['probability']:.1%}"
      right.text(1.09, place, share, va="center", ha="right", size=9)
    right.set(xlim=(0, 1), xticks=[], yticks=[])
    right.invert_yaxis()
    right.spines[["top", "right", "bottom"]].set_visible(False)
  with files.whole(path) as aside:
    figure.savefig(aside, format="png", dpi=110)


def thumbnail(
  photo: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "small_h small_w 3"]:
  """A photo, uint8 RGB, downscaled to a longer side of at most 480 pixels."""
  h, w = photo.shape[:2]
  shrink = min(1.0, _LONGER_SIDE / max(h, w))
  return crops.resize(photo, max(1, round(h * shrink)), max(1, round(w * shrink)))


def _shortened(name: str) -> str:
  """`name`, or as many of its synonyms as fit and an ellipsis."""
  if len(name) <= _LONGEST_NAME:
    return name
  whole, comma, _ = name[:_LONGEST_NAME].rpartition(", ")
  return f"{whole}, …" if comma else f"{name[: _LONGEST_NAME - 1]}…"

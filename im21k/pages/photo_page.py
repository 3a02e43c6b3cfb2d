"""Photos, probabilities and answers -> one HTML page; no network, no script.

Elements that open and close are the browser's own, so keyboards and screen readers
know them.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from im21k import files
from im21k.pages import charts, render
from im21k.synsets.hierarchy import Hierarchy

MOST_PHOTOS = 50
_LEAST = 0.01  # Of probability, that the tree shows.


@dataclasses.dataclass(frozen=True)
class PhotoAnswers:
  """A photo and what is known about it.

  Attributes:
    name: heading of the photo.
    thumbnail: uint8 `[h, w, 3]` RGB.
    probabilities: `[classes]`.
    answers: lists of `synset`, `name` and `probability`, by heading.
  """

  name: str
  thumbnail: UInt8[np.ndarray, "h w 3"]
  probabilities: Float32[np.ndarray, " classes"]
  answers: dict[str, list[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class TreeNode:
  """A likely node of the hierarchy, and the likely ones below it, likeliest first."""

  text: str
  is_open: bool
  below: list["TreeNode"]


def write(path: Path, hierarchy: Hierarchy, photos: Sequence[PhotoAnswers]) -> None:
  """Writes the page, whole or not at all.

  Args:
    path: HTML file to write.
    hierarchy: hierarchy of the classes.
    photos: photos in the order of the page.
  """
  shown = [_shown(hierarchy, photo) for photo in photos]
  files.write_text(path, render.page("photo_page", photos=shown))


def _shown(hierarchy: Hierarchy, photo: PhotoAnswers) -> dict[str, Any]:
  """What the template takes of a photo."""
  nodes = hierarchy.probabilities(photo.probabilities[None])[0]
  return {
    "name": photo.name,
    "source": render.data_uri(photo.thumbnail),
    "answers": {
      heading: [(f"{top['probability']:.1%}", top["name"]) for top in answer]
      for heading, answer in photo.answers.items()
    },
    "peaks": charts.peaks(hierarchy, photo.probabilities),
    "tree": tree(hierarchy, nodes),
  }


def tree(hierarchy: Hierarchy, nodes: Float32[np.ndarray, " nodes"]) -> list[TreeNode]:
  """The roots of the likely nodes; branches of 50 % and more are open.

  A node with several hypernyms stands only below its likeliest.
  """
  children: dict[int, list[int]] = {}
  roots = []
  for node in np.flatnonzero(nodes >= _LEAST).tolist():
    if parents := hierarchy.parents[node]:
      children.setdefault(max(parents, key=lambda at: nodes[at]), []).append(node)
    else:
      roots.append(node)

  def grow(node: int, is_open: bool) -> TreeNode:
    name = hierarchy.name(node)
    below = sorted(children.get(node, ()), key=lambda at: -nodes[at])
    return TreeNode(
      f"{name} {nodes[node]:.1%}",
      is_open,
      [grow(at, is_open and bool(nodes[at] >= 0.5)) for at in below],
    )

  return [grow(root, True) for root in roots]

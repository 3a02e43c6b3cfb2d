"""Photos, probabilities and answers -> one HTML page, which needs no network.

Elements that open and close are the browser's own, so keyboards and screen readers
know them; all that a page says is there without its script.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from im21k import files
from im21k.pages import icicle, mass, render
from im21k.synsets.hierarchy import Hierarchy

MOST_PHOTOS = 50


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
  names, nodes = mass.tree(hierarchy, photo.probabilities)
  answers = {
    heading: [
      (top["name"], top["probability"], icicle.percent(top["probability"]))
      for top in answer
    ]
    for heading, answer in sorted(distinct(photo.answers).items(), key=_is_not_hedged)
  }
  best = _best(photo.answers)
  return {
    "name": photo.name,
    "source": render.data_uri(photo.thumbnail),
    "small": render.data_uri(render.thumbnail(photo.thumbnail)),
    "best": best
    and (best["name"].partition(",")[0], icicle.percent(best["probability"])),
    "answers": answers,
    "icicle": icicle.layout(names, nodes),
    "path": " › ".join(names),
    "tree": nodes,
  }


def _is_not_hedged(item: tuple[str, Any]) -> bool:
  """Sorts what is to be trusted most before the rest."""
  return not item[0].startswith("Hedged")


def _best(answers: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
  """The hedged answer, which is the one to trust; without one the likeliest class."""
  hedged = [top for heading, top in answers.items() if heading.startswith("Hedged")]
  return next((top[0] for top in (*hedged, *answers.values()) if top), None)


def distinct(
  answers: dict[str, list[dict[str, Any]]],
) -> dict[str, list[dict[str, Any]]]:
  """Answers by heading; those that read the same have one heading for both."""
  headings: dict[tuple[tuple[str, str], ...], str] = {}
  found: dict[str, list[dict[str, Any]]] = {}
  for heading, answer in answers.items():
    read = tuple((one["synset"], icicle.percent(one["probability"])) for one in answer)
    if same := headings.get(read):
      both = f"{same} and {heading.lower()}"
      found = {both if at == same else at: other for at, other in found.items()}
      headings[read] = both
    else:
      found[heading] = answer
      headings[read] = heading
  return found

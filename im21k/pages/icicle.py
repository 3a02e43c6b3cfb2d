"""A tree of mass -> the rectangles of an icicle, which a template draws as SVG.

A rectangle is as wide as its mass and one row deep; its parts are below it. Positions
across are percent of the chart's width, so that it is as wide as the page and its
letters keep their size.
"""

import dataclasses
from collections.abc import Sequence

from im21k.pages.mass import LEAST, Node

ROW = 27  # Height of a row, in pixels.
_CHARACTER = 6.9  # Width of a letter, in pixels; an estimate on the safe side.
_MARGIN = 12  # Left and right of a text, in pixels.
# Width of the chart on a phone and on a larger screen, in pixels, at least.
_NARROW, _WIDE = 335, 860
_COLOURS = 4


@dataclasses.dataclass(frozen=True)
class Rectangle:
  """A node, or the rest of one.

  Attributes:
    x, width: in percent of the chart's width.
    y: in pixels.
    kind: `b1` to `b4` by its branch and `d0` or `d1` by its row, or `rest`.
    wide, narrow: its text where the chart is wide or narrow, as much as fits.
    path: in words, with what is above it.
    name: whole, for where it is enlarged.
  """

  x: float
  width: float
  y: int
  kind: str
  wide: str
  narrow: str
  path: str
  name: str


@dataclasses.dataclass(frozen=True)
class Icicle:
  """Rectangles of a chart of this height; `label` says the largest in words."""

  label: str
  height: int
  rectangles: list[Rectangle]


def layout(names: Sequence[str], nodes: Sequence[Node]) -> Icicle:
  """The icicle of the nodes where the mass divides, below these names."""
  found: list[Rectangle] = []

  def place(node: Node, x: float, row: int, kind: int, above: tuple[str, ...]) -> None:
    path = (*above, *node.above, node.name)
    text = f"{node.name} {percent(node.probability)}"
    found.append(_rectangle(node, x, row, f"b{kind} d{row % 2}", text, path))
    for part in node.below:
      place(part, x, row + 1, kind, path)
      x += part.mass
    if node.rest >= LEAST:
      found.append(_rest(x, node.rest, row + 1, path))

  x = 0.0
  for at, node in enumerate(nodes):
    place(node, x, 0, min(at, _COLOURS - 1) + 1, tuple(names))
    x += node.mass
  if 1 - x >= LEAST:
    found.append(_rest(x, 1 - x, 0, tuple(names)))
  rows = 1 + max((one.y for one in found), default=0) // ROW
  largest = [one.name for one in sorted(found, key=lambda one: -one.width)[:5]]
  label = f"Probability along the hierarchy: {'; '.join(largest)}"
  return Icicle(label, rows * ROW, found)


def percent(share: float) -> str:
  """A probability as pages show it: 43.1 %, 100 %."""
  return f"{100 * share:.1f} %" if share < 0.9995 else "100 %"


def _rectangle(
  node: Node, x: float, row: int, kind: str, text: str, path: tuple[str, ...]
) -> Rectangle:
  return Rectangle(
    round(100 * x, 2),
    round(100 * node.mass, 2),
    row * ROW,
    kind,
    fitted(text, node.name, node.mass * _WIDE),
    fitted(text, node.name, node.mass * _NARROW),
    f"{' › '.join(path)}: {percent(node.probability)}",
    text,
  )


def _rest(x: float, mass: float, row: int, path: tuple[str, ...]) -> Rectangle:
  text = f"other {percent(mass)}"
  return Rectangle(
    round(100 * x, 2),
    round(100 * mass, 2),
    row * ROW,
    "rest",
    fitted(text, "other", mass * _WIDE),
    fitted(text, "other", mass * _NARROW),
    " › ".join([*path, f"others: {percent(mass)} in all"]),
    text,
  )


def fitted(text: str, shorter: str, width: float) -> str:
  """The text, the shorter one, a beginning of it, or "": what fits into the width."""
  room = int((width - _MARGIN) / _CHARACTER)
  for one in (text, shorter):
    if len(one) <= room:
      return one
  return f"{shorter[: room - 1]}…" if room >= 4 else ""

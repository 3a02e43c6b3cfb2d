"""Pages about photos: no network, no script; whatever comes from files is escaped.

Elements that open and close are the browser's own, so keyboards and screen readers
know them.
"""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from im21k import files
from im21k.synsets import lookup
from im21k.synsets.hierarchy import Hierarchy

MOST_PHOTOS = 50
_PEAKS = 5
_LEAST = 0.01  # Of probability, that the tree shows.
_WIDTH, _HEIGHT = 420, 220  # So that letters stay legible on a phone.

_STYLE = """
:root{color-scheme:light dark;
--ink:#1b1b1b;--paper:#fff;--line:#666;--bar:#1f5fa8;--other:#a33a1f}
@media(prefers-color-scheme:dark){
:root{--ink:#eee;--paper:#161616;--line:#aaa;--bar:#8ab8ee;--other:#f0a58f}}
body{font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:46rem;margin:auto;padding:1rem}
h1,h2,h3{line-height:1.2;overflow-wrap:anywhere}
img,svg{max-width:100%;height:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.2rem .4rem;vertical-align:top;overflow-wrap:anywhere}
tbody th{font-weight:normal}
.answers th:first-child{white-space:nowrap;width:6rem}
.answers tbody th{text-align:right}
.numbers td,.numbers th+th{text-align:right;white-space:nowrap;padding:.2rem .25rem}
.numbers{font-size:.85rem}
.pairs th:first-child{white-space:nowrap}
.photos img{width:100%}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:1rem}
figure{margin:0}
figcaption{font-size:.9rem;overflow-wrap:anywhere}
details details{margin-left:1rem}
summary{cursor:pointer;padding:.2rem 0}
svg text{fill:var(--ink);font-size:13px}
svg path{stroke:var(--bar);fill:none}
svg line{stroke:var(--line)}
svg path.second{stroke:var(--other);stroke-dasharray:5 3}
"""


def write(
  path: Path,
  hierarchy: Hierarchy,
  names: Sequence[str],
  thumbnails: Sequence[npt.NDArray[np.uint8]],
  classes: npt.NDArray[np.float32],
  answers: Sequence[dict[str, list[dict[str, Any]]]],
) -> None:
  """Writes the page, whole or not at all.

  Args:
    path: of the HTML file.
    hierarchy: of the classes.
    names: of the photos.
    thumbnails: of the photos, uint8 `[h, w, 3]` RGB.
    classes: `[photos, classes]`, probabilities.
    answers: for each photo lists of `synset`, `name` and `probability`, by heading.
  """
  parts = [
    _photo(hierarchy, *each)
    for each in zip(names, thumbnails, classes, answers, strict=True)
  ]
  files.write_text(path, document("What the photos show", "".join(parts)))


def document(title: str, body: str) -> str:
  """A whole page; `title` is text, `body` HTML below the first heading."""
  shown = html.escape(title)
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<link rel="icon" href="data:,">'
    f"<title>{shown}</title><style>{_STYLE}</style></head><body><main>"
    f"<h1>{shown}</h1>{body}</main></body></html>\n"
  )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
  """A table of texts, the first of each row its heading; `kind` is a class of style."""
  heads = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
  lines = "".join(
    f'<tr><th scope="row">{html.escape(first)}</th>'
    + "".join(f"<td>{html.escape(text)}</td>" for text in rest)
    + "</tr>"
    for first, *rest in rows
  )
  return (
    f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody>'
    "</table>"
  )


def image(alt: str, pixels: npt.NDArray[np.uint8]) -> str:
  """A photo uint8 `[h, w, 3]` RGB within the page."""
  how = [cv2.IMWRITE_JPEG_QUALITY, 80]
  done, jpeg = cv2.imencode(".jpg", pixels[..., ::-1], how)
  if not done:
    raise ValueError(f"{alt}: the photo cannot be written as JPEG")
  data = base64.b64encode(jpeg.tobytes()).decode("ascii")
  return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{data}">'


def lines(told: str, series: dict[str, list[tuple[float, float]]]) -> str:
  """A chart of shares, 0 to 1, over one axis from 0; the second line is dashed.

  Args:
    told: the same in words, text.
    series: (x, share) of each line, by its name; at most two.
  """
  points = [x for line in series.values() for x, _ in line]
  left, right, base, top = 46, _WIDTH - 8, _HEIGHT - 24, 24
  scale = (right - left) / max(max(points), 1)
  shapes = []
  for share in (0, 0.25, 0.5, 0.75, 1):
    y = base - (base - top) * share
    shapes.append(
      f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" opacity=".4"/>'
      f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share:.0%}</text>'
    )
  for at, (name, line) in enumerate(series.items()):
    if not line:
      continue
    way = "L".join(
      f"{left + x * scale:.1f} {base - (base - top) * y:.1f}" for x, y in line
    )
    kind, sign = (("first", "—"), ("second", "- -"))[at]
    shapes.append(
      f'<path class="{kind}" stroke-width="2" d="M{way}"/>'
      f'<text x="{left + 110 * at}" y="14">{sign} {html.escape(name)}</text>'
    )
  return (
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(told)}"'
    f'>{"".join(shapes)}<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">'
    f"{max(points):,.0f}</text></svg>"
  )


def _photo(
  hierarchy: Hierarchy,
  name: str,
  thumbnail: npt.NDArray[np.uint8],
  classes: npt.NDArray[np.float32],
  answers: dict[str, list[dict[str, Any]]],
) -> str:
  tables = "".join(
    f"<h3>{html.escape(heading)}</h3>"
    + table(
      ("Probability", "Name"),
      [(f"{top['probability']:.1%}", top["name"]) for top in some],
      "answers",
    )
    for heading, some in answers.items()
  )
  return (
    f"<section><h2>{html.escape(name)}</h2>{image(name, thumbnail)}{tables}"
    f"<h3>All classes along the hierarchy</h3>{_plot(hierarchy, classes)}<h3>Tree</h3>"
    f"{_tree(hierarchy, hierarchy.probabilities(classes[None])[0])}</section>"
  )


def _plot(hierarchy: Hierarchy, classes: npt.NDArray[np.float32]) -> str:
  """Probability over all classes in depth-first order, the peaks named."""
  along = classes[hierarchy.depth_first]
  column = np.arange(len(along)) * _WIDTH // len(along)
  highest = np.zeros(_WIDTH)
  np.maximum.at(highest, column, along)
  top = max(float(highest.max()), 1e-9)
  base, tall = _HEIGHT - 10, _HEIGHT - 120
  bars = "".join(
    f"M{x} {base}V{base - tall * value / top:.1f}"
    for x, value in enumerate(highest)
    if tall * value / top >= 0.5
  )
  labels, told = [], []
  for row, at in enumerate(np.argsort(-along, kind="stable")[:_PEAKS].tolist()):
    label = int(hierarchy.depth_first[at])
    synset = hierarchy.ids[hierarchy.label_node[label]]
    name = html.escape(lookup.distinct_name(synset).partition(",")[0])
    x, y = int(column[at]), 16 + 20 * row
    end = base - tall * float(along[at]) / top
    anchor = "end" if x > _WIDTH / 2 else "start"
    labels.append(
      f'<line x1="{x}" y1="{y + 3}" x2="{x}" y2="{end:.1f}"/>'
      f'<text x="{x}" y="{y}" text-anchor="{anchor}">{name} {along[at]:.1%}</text>'
    )
    told.append(f"{name} {along[at]:.1%}")
  return (
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
    f'aria-label="Peaks: {"; ".join(told)}"><path d="{bars}"/>{"".join(labels)}</svg>'
  )


def _tree(hierarchy: Hierarchy, nodes: npt.NDArray[np.float32]) -> str:
  """The likely nodes as nested elements that open and close, likeliest first.

  A node with several hypernyms stands below its likeliest only.
  """
  children: dict[int, list[int]] = {}
  roots = []
  for node in np.flatnonzero(nodes >= _LEAST).tolist():
    if parents := hierarchy.parents[node]:
      children.setdefault(max(parents, key=lambda at: nodes[at]), []).append(node)
    else:
      roots.append(node)

  def draw(node: int, is_open: bool) -> str:
    name = html.escape(lookup.distinct_name(hierarchy.ids[node]))
    line = f"{name} {nodes[node]:.1%}"
    below = sorted(children.get(node, ()), key=lambda at: -nodes[at])
    if not below:
      return f"<p>{line}</p>"
    inner = "".join(draw(at, is_open and nodes[at] >= 0.5) for at in below)
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{line}</summary>{inner}</details>"

  return "".join(draw(root, True) for root in roots)

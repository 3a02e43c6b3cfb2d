"""One page about a run: how it learned, how good it is, and where it is wrong."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from im21k import files, weights
from im21k.answers import calibration
from im21k.evaluation import accuracy, inputs, outputs, results
from im21k.evaluation.evaluate import ORIGINAL
from im21k.pages import branches, photo_page
from im21k.synsets import hierarchy, lookup
from im21k.training.log import read_rows

_SHOWN = 6  # Of the best and of the worst classes.
# Train top-1 of the original at the end of its ninth pass, percent.
_ORIGINAL_TRAIN = 37.2


def report(
  workdir: Path,
  *,
  data: Path | None = None,
  split: inputs.Split = "eval",
  images: int = 2_000,
  batch_size: int = 64,
  page_file: Path | None = None,
) -> dict[str, Any]:
  """Writes a page about a run: curve, scores, confusion, best and worst classes.

  Args:
    workdir: folder of the run; of one that has not ended there is less to tell.
    data: packed photos to look at; by default those that it was trained on.
    split: eval or train: of which photos.
    images: at most so many photos; 87 KB of memory each with 21,841 classes.
    batch_size: photos at a time.
    page_file: HTML file to write; by default report.html in workdir.

  Returns:
    `page`: the file; `finished`: whether the run has weights; `images`: how many photos
    were looked at; `top_1` of these (None: there are none).

  Raises:
    FileNotFoundError: workdir holds no run, or there are no such photos.
    ValueError: a file is damaged, or the photos have other classes.
  """
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  config = _read(workdir / "config.json")
  rows = read_rows(workdir / "metrics.jsonl")
  finished = (workdir / "weights" / weights.DOCUMENT).is_file()
  parts = [_section("Learning curve", _curve(rows))]
  parts.append(_section("Beside the original", _against(workdir, rows)))
  looked_at, top_1 = 0, None
  if finished:
    released = weights.load(workdir / "weights")
    photos = inputs.open_shuffled(data or Path(config["data"]), split)
    computed = outputs.compute(released, photos, most=images, batch_size=batch_size)
    logits, labels = computed.logits, computed.labels
    looked_at, top_1 = len(labels), float((logits.argmax(1) == labels).mean())
    calibrated = calibration.load(workdir / "weights" / weights.ARRAYS)
    p = (calibrated or calibration.Calibration()).probabilities(logits)
    graph = hierarchy.over(released.classes)
    told = f"<p>{looked_at:,} {html.escape(split)} photos, {top_1:.1%} right.</p>"
    parts.append(_section("Confusion by branch", told + _confusion(graph, p, labels)))

    def square(index: int) -> npt.NDArray[np.uint8]:
      return inputs.square(photos[int(computed.positions[index])], released.input)

    parts += _best_and_worst(graph, p, labels, square)
  else:
    parts.append("<p>The run has not ended, so there are no weights to look at.</p>")
  parts.append(_section("Configuration", _pairs(config)))
  parts.append(_section("Environment", _environment(workdir)))
  target = page_file or workdir / "report.html"
  name = workdir.resolve().name
  files.write_text(target, photo_page.document(f"Run {name}", "".join(parts)))
  return {
    "page": str(target),
    "finished": finished,
    "images": looked_at,
    "top_1": top_1,
  }


def text(result: dict[str, Any]) -> str:
  """What `report` did, for people."""
  lines = [f"page: {result['page']}"]
  if result["finished"]:
    lines.append(f"{result['images']:,} photos, {result['top_1']:.2%} right")
  else:
    lines.append("the run has not ended: no weights to look at")
  return "\n".join(lines)


def _section(heading: str, body: str) -> str:
  return f"<section><h2>{html.escape(heading)}</h2>{body}</section>"


def _read(path: Path) -> dict[str, Any]:
  if not path.is_file():
    raise FileNotFoundError(f"{path} does not exist: {path.parent} holds no run")
  try:
    document = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path} is damaged: {error}") from error
  if not isinstance(document, dict):
    raise ValueError(f"{path} is damaged: it is no JSON object")
  return document


def _last(rows: list[dict[str, Any]], name: str) -> float | None:
  return next((row[name] for row in reversed(rows) if name in row), None)


def _percent(share: float | None, missing: str = "not measured") -> str:
  return missing if share is None else f"{100 * share:.1f} %"


def _curve(rows: list[dict[str, Any]]) -> str:
  lines = {
    name: [(row["images"], row[key]) for row in rows if key in row]
    for name, key in (("train", "train_top_1"), ("held out", "eval_top_1"))
  }
  if not lines["train"]:
    return "<p>Nothing has been measured yet.</p>"
  told = (
    f"Top-1 accuracy over images seen, {rows[-1]['images']:,} in all: at last "
    f"{_percent(_last(rows, 'train_top_1'))} of training photos and "
    f"{_percent(_last(rows, 'eval_top_1'))} of held-out photos"
  )
  return f"{photo_page.lines(told, lines)}<p>{told}.</p>"


def _against(workdir: Path, rows: list[dict[str, Any]]) -> str:
  """The same measures of this run and of the original of 2015."""
  lines = [
    (
      "training photos, top-1",
      _percent(_last(rows, "train_top_1")),
      f"{_ORIGINAL_TRAIN} %",
    )
  ]
  measured = results.read_rows(workdir / "weights" / results.CSV)
  for answers, key in (("all 21,841", "all"), ("999 of ilsvrc2012", "ilsvrc2012")):
    # Of the validation photos, the newest row.
    mine = next(
      (
        row
        for row in reversed(measured)
        if row["answers"] == answers
        and row["images"] == str(accuracy.VALIDATION_PHOTOS)
      ),
      None,
    )
    for k, original in zip((1, 5, 20), ORIGINAL[key], strict=True):
      share = float(mine[f"top_{k}"]) if mine else None
      what = f"ILSVRC2012 val among {answers}, top-{k}"
      lines.append((what, _percent(share), f"{original} %"))
  return photo_page.table(("measure", "this run", "2015"), lines, "numbers")


def _confusion(
  graph: hierarchy.Hierarchy, p: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> str:
  chosen = branches.choose(graph, labels)
  table = branches.confusion(chosen, labels, p.argmax(1))
  lines = []
  for at, (branch, row) in enumerate(zip(chosen, table, strict=True), 1):
    name = lookup.distinct_name(graph.ids[branch.node]).partition(",")[0]
    other = "" if branch.classes[graph.below(branch.node)].all() else "other "
    shares = [f"{100 * n / row.sum():.0f}" if n else "" for n in row]
    lines.append((f"{at} {other}{name} ({row.sum():,})", *shares))
  heads = ("branch (photos)", *map(str, range(1, len(chosen) + 1)), "else")
  if not table[:, -1].any():
    heads, lines = heads[:-1], [line[:-1] for line in lines]
  return (
    "<p>Of 100 photos of the branch that a row names, how many are named as "
    "something of the branch in each column.</p>"
    f"{photo_page.table(heads, lines, 'numbers')}"
  )


def _best_and_worst(
  graph: hierarchy.Hierarchy,
  p: npt.NDArray[np.float32],
  labels: npt.NDArray[np.int64],
  square: Callable[[int], npt.NDArray[np.uint8]],
) -> list[str]:
  """By the share of right first answers, then by the probability of the truth.

  Of classes that are never right none is among the best, of those that always are none
  among the worst.
  """
  own = p[np.arange(len(p)), labels].astype(np.float64)
  right = p.argmax(1) == labels
  share = {c: float(right[labels == c].mean()) for c in np.unique(labels).tolist()}
  order = sorted(share, key=lambda c: (share[c], own[labels == c].mean()))
  best = [c for c in order[::-1] if share[c] > 0][:_SHOWN]
  worst = [c for c in order if share[c] < 1 and c not in best][:_SHOWN]

  def figure(label: int, extreme: Any) -> str:
    mine = np.flatnonzero(labels == label)
    photo = int(mine[extreme(own[mine])])
    name = _name(graph, label)
    answer = int(p[photo].argmax())
    said = f"named {_name(graph, answer)} ({p[photo, answer]:.0%})"
    told = f"{name}: {share[label]:.0%} of {len(mine):,} right; this one {said}"
    return (
      f"<figure>{photo_page.image(name, square(photo))}"
      f"<figcaption>{html.escape(told)}</figcaption></figure>"
    )

  return [
    _section(heading, f'<div class="photos">{"".join(figures)}</div>')
    for heading, figures in (
      ("Best classes", [figure(c, np.argmax) for c in best]),
      ("Worst classes", [figure(c, np.argmin) for c in worst]),
    )
  ]


def _name(graph: hierarchy.Hierarchy, label: int) -> str:
  return lookup.distinct_name(graph.ids[graph.label_node[label]]).partition(",")[0]


def _environment(workdir: Path) -> str:
  path = workdir / "environment.json"
  if not path.is_file():
    return "<p>The run did not record it.</p>"
  return _pairs(_read(path))


def _pairs(document: dict[str, Any]) -> str:
  rows = [
    (key, value if isinstance(value, str) else json.dumps(value))
    for key, value in document.items()
  ]
  return photo_page.table(("key", "value"), rows, "pairs")

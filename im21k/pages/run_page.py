"""A run's work folder -> one page: learning curve, scores, and where it is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from im21k import documents, files, original, targets, weights, words
from im21k.answers import calibration
from im21k.evaluation import accuracy, inputs, outputs, results
from im21k.pages import charts, mistakes, render
from im21k.synsets import hierarchy
from im21k.training.log import read_rows

FINETUNED = "finetune.json"  # What `im21k finetune` records in place of a config.
_FITTED = "The trunk was not trained: the head was fitted to its features at once."


def report(
  workdir: Path,
  *,
  data: Path | None = None,
  split: inputs.Split | None = None,
  images: int = 2_000,
  batch_size: int = 64,
  page_file: Path | None = None,
) -> dict[str, Any]:
  """Writes a page about a run: curve, scores, confusion, best and worst classes.

  Args:
    workdir: Work folder of the run. The page of an unfinished run evaluates nothing:
      data, split, images and batch_size have no effect yet.
    data: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars or
      of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS, or
      tfds:NAME:SPLIT; by default the photos that the run was trained on.
    split: Split of packed photos to evaluate, eval by default.
    images: Maximum number of photos; each takes 87 KB of memory with 21,841 classes.
    batch_size: Photos in a batch.
    page_file: HTML file to write; by default report.html in workdir.

  Returns:
    `page`: the file; `finished`: whether the run has weights; `images`: how many photos
    were evaluated; `top_1` of these (None: there are none); `counts` (None: the same):
    how many `photos` were read, and of these how many were `used`, of `unknown`
    classes, and `bad`. `failed`, if a part of an archive could not be read.

  Raises:
    FileNotFoundError: workdir holds no run, or there are no such photos.
    ValueError: a file is damaged, or the photos have other classes.
  """
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  target = page_file or workdir / "report.html"
  targets.check([], page_file=target)
  read = [workdir / name for name in ("config.json", "metrics.jsonl", "weights")]
  targets.check([*read, *([data] if data else [])], page_file=page_file)
  config, fitted = _config(workdir)
  rows = read_rows(workdir / "metrics.jsonl")
  finished = (workdir / "weights" / weights.DOCUMENT).is_file()
  evaluated: dict[str, Any] = {"images": 0, "top_1": None, "counts": None}
  if finished:
    if data is None and "data" not in config:
      raise ValueError(f"{workdir / 'config.json'} names no photos: give --data")
    photos = data or Path(config["data"])
    evaluated = _evaluated(workdir / "weights", photos, split, images, batch_size)
  recorded = workdir / "environment.json"
  page = render.page(
    "run_page",
    name=workdir.resolve().name,
    curve=_curve(rows),
    no_curve=_FITTED if fitted else "Nothing has been measured yet.",
    # The original knew nothing of own classes, and was not made from other weights.
    comparison=()
    if evaluated.get("own") or (workdir / FINETUNED).is_file()
    else _comparison(workdir, rows),
    mistakes=evaluated.get("mistakes"),
    config=_pairs(config),
    environment=_pairs(_read(recorded)) if recorded.is_file() else None,
  )
  files.write_text(target, page)
  return {
    "page": str(target),
    "finished": finished,
    "images": evaluated["images"],
    "top_1": evaluated["top_1"],
    "counts": evaluated["counts"],
    **evaluated.get("failed", {}),
  }


def text(result: dict[str, Any]) -> str:
  """The result of `report` for people."""
  lines = [f"page: {result['page']}"]
  if result["finished"]:
    photos = words.counted(result["images"], "photo")
    lines.append(f"{photos}, top-1 accuracy {result['top_1']:.2%}")
    lines.append(results.counts_line(result["counts"]))
  else:
    lines.append("the run has not ended: there are no weights to evaluate")
  return "\n".join(lines)


def _config(workdir: Path) -> tuple[dict[str, Any], bool]:
  """What defines the weights, and whether only their head was fitted, in no run."""
  fitted = workdir / FINETUNED
  if fitted.is_file() and not (workdir / "config.json").is_file():
    found = documents.read(fitted)
    both = [found.get(part, {}) for part in ("asked", "result")]
    if not all(isinstance(part, dict) for part in both):
      raise ValueError(f"{fitted} is damaged: asked and result are no objects")
    return {**both[0], **both[1], "data": found.get("data", "")}, True
  return _read(workdir / "config.json"), False


def _read(path: Path) -> dict[str, Any]:
  if not path.is_file():
    raise FileNotFoundError(f"{path} does not exist: {path.parent} holds no run")
  return documents.read(path)


def _evaluated(
  folder: Path, data: Path, split: inputs.Split | None, most: int, batch_size: int
) -> dict[str, Any]:
  """`images`, `top_1`, `own` (has own classes), and `mistakes` for the template."""
  split = inputs.split_for(data, split, "eval")
  released = weights.load(folder)
  photos = inputs.open_shuffled(data, split, classes=released.classes)
  computed = outputs.compute(released, photos, most=most, batch_size=batch_size)
  labels = computed.labels
  top_1 = float((computed.logits.argmax(1) == labels).mean())
  calibrated = calibration.load(folder / weights.ARRAYS) or calibration.Calibration()
  p = calibrated.probabilities(computed.logits)
  graph = hierarchy.to_show(released.classes)
  head, rows = mistakes.confusion(graph, p, labels)

  def squares(indices: list[int]) -> list[UInt8[np.ndarray, "size size 3"]]:
    chosen = photos.pick(computed.positions[indices].tolist())
    return [inputs.square(photo, released.input) for photo in chosen]

  best, worst = mistakes.best_and_worst(graph, p, labels, squares)
  shown = {
    "summary": f"{_counted(computed, split)}, top-1 accuracy {_percent(top_1)}.",
    "head": head,
    "rows": rows,
    "best": best,
    "worst": worst,
  }
  return {
    "images": len(labels),
    "top_1": top_1,
    "own": bool(released.classes.own),
    "mistakes": shown,
    "counts": computed.counts(),
    "failed": results.failed(computed.bad),
  }


def _counted(computed: outputs.Outputs, split: str | None) -> str:
  """How many photos were evaluated, and how many could not be."""
  used = words.counted(len(computed.labels), f"{split} photo" if split else "photo")
  rest = computed.counts()["photos"] - len(computed.labels)
  return f"{used}{f' ({rest:,} more cannot be scored)' if rest else ''}"


def _curve(rows: list[dict[str, Any]]) -> charts.LineChart | None:
  """Accuracy over images seen; None where nothing was measured."""
  lines = {
    name: [(row["images"], row[key]) for row in rows if key in row]
    for name, key in (("train", "train_top_1"), ("held out", "eval_top_1"))
  }
  if not lines["train"]:
    return None
  label = (
    f"Top-1 accuracy over images seen, {rows[-1]['images']:,} in all; at the end "
    f"{_percent(_last(rows, 'train_top_1'))} on training photos and "
    f"{_percent(_last(rows, 'eval_top_1'))} on held-out photos"
  )
  return charts.lines(label, lines)


def _comparison(workdir: Path, rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
  """The same measures of this run and of the original of 2015: rows of a table."""
  train = _percent(_last(rows, "train_top_1"))
  lines: list[tuple[str, ...]] = [
    ("training photos, top-1", train, f"{original.TRAIN_TOP_1[-1]} %")
  ]
  measured = results.read_rows(workdir / "weights" / results.CSV)
  for answers, key in (("all 21,841", "all"), ("999 of ilsvrc2012", "ilsvrc2012")):
    # The newest evaluation on all validation photos.
    mine = next(
      (
        row
        for row in reversed(measured)
        if row.get("answers") == answers
        and row.get("images") == str(accuracy.VALIDATION_PHOTOS)
      ),
      None,
    )
    for k, theirs in zip((1, 5, 20), original.VALIDATION_TOP_K[key], strict=True):
      share = float(mine[f"top_{k}"]) if mine and mine.get(f"top_{k}") else None
      what = f"ILSVRC2012 val among {answers}, top-{k}"
      lines.append((what, _percent(share), f"{theirs} %"))
  return lines


def _pairs(document: dict[str, Any]) -> list[tuple[str, str]]:
  return [
    (key, value if isinstance(value, str) else json.dumps(value))
    for key, value in document.items()
  ]


def _last(rows: list[dict[str, Any]], name: str) -> float | None:
  return next((row[name] for row in reversed(rows) if name in row), None)


def _percent(share: float | None) -> str:
  return "not measured" if share is None else f"{100 * share:.1f} %"

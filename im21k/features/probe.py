"""`im21k probe`: features with classes -> accuracy of kNN and of a linear classifier.

Neither changes the network, so they say what its features are worth. Nearest neighbours
vote as in DINO; the linear classifier is L-BFGS logistic regression as in CLIP and
DINOv2, its l2 chosen on training photos alone, then fitted to all of these.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from im21k import words
from im21k.evaluation import accuracy
from im21k.features import knn, logistic, samples
from im21k.features.samples import Samples

TOP_K = (1, 5)
_ROWS = 4_096  # Of logits at a time.


def probe(
  features: Path,
  *,
  train: Path | None = None,
  eval_fraction: float | None = None,
  eval_per_class: int | None = None,
  seed: int = 0,
) -> dict[str, Any]:
  """Measures what features are worth: nearest neighbours and a linear probe.

  Args:
    features: Features of photos with classes, from `im21k features`: a .npz or a
      folder.
    train: Features of other photos to learn from; then all of the first are answered.
      By default some of the first are held out by class and answered.
    eval_fraction: Share of each class to hold out; by default 0.2.
    eval_per_class: Photos of each class to hold out, instead.
    seed: Seed of which photos are held out.

  Returns:
    `rows`: for each method its `top_1`, `top_5` with 95 % intervals and `per_class`,
    the mean of the classes' top-1; `counts`; `classes`; `l2` of the linear probe;
    `unknown`: photos by class that training lacks, not answered.

  Raises:
    FileNotFoundError: there are no such features.
    ValueError: they are no features, or of different networks or stages, have no
      classes or one class, or the options exclude each other.
  """
  if train:
    given = {"eval_fraction": eval_fraction, "eval_per_class": eval_per_class}
    if named := [name for name, value in given.items() if value is not None]:
      raise ValueError(
        f"{named[0]} holds out photos of one file, but train names another: leave one "
        "of them out"
      )
    known, asked, about = samples.of_two(train, features)
  else:
    known, asked, about = samples.of_one(features, eval_fraction, eval_per_class, seed)
  total = len(about["classes"])
  rows = []
  ks = [k for k in knn.K if k <= len(known.labels)] or [len(known.labels)]
  near = knn.ranks(known.values, known.labels, asked.values, asked.labels, total, ks)
  rows += [_row(f"kNN, k = {k}", near[k], asked.labels) for k in ks]
  head = logistic.choose(known.values, known.labels, total)
  rows.append(_row("linear", _linear(head, asked), asked.labels))
  return {
    "features": str(features),
    "train": str(train) if train else None,
    "stage": about["stage"],
    "width": known.values.shape[1],
    "counts": {
      "train": len(known.labels),
      "eval": len(asked.labels),
      **about["counts"],
    },
    "classes": {"train": total, "eval": len(np.unique(asked.labels))},
    "unknown": about["unknown"],
    "l2": head.l2,
    "rows": rows,
  }


def text(result: dict[str, Any]) -> str:
  """The result of `probe` for people."""
  counts, classes = result["counts"], result["classes"]
  lines = [
    f"{result['stage']}, {words.counted(result['width'], 'number')} a photo: "
    f"{words.counted(counts['train'], 'photo')} of "
    f"{words.counted(classes['train'], 'class')} to learn from",
    f"{words.counted(counts['eval'], 'photo')} of "
    f"{words.counted(classes['eval'], 'class')} answered",
    "",
    f"{'method':<16}{'top-1':>9}{'95 %':>13}{'top-5':>9}{'95 %':>13}{'per class':>11}",
  ]
  for row in result["rows"]:
    line = f"{row['method']:<16}"
    for k in TOP_K:
      low, high = row[f"top_{k}_low"] * 100, row[f"top_{k}_high"] * 100
      line += f"{row[f'top_{k}']:>9.2%}{f'{low:.1f}–{high:.1f}':>13}"
    lines.append(f"{line}{row['per_class']:>11.2%}")
  lines.append(f"linear: l2 {result['l2']:.2g}, chosen on the photos to learn from")
  if counts["unlabelled"]:
    photos = words.counted(counts["unlabelled"], "photo")
    lines.append(f"left out: {photos} without class")
  if result["unknown"]:
    shown = ", ".join(f"{name} ({n:,})" for name, n in [*result["unknown"].items()][:5])
    more = ", …" if len(result["unknown"]) > 5 else ""
    photos = words.counted(counts["unknown"], "photo")
    lines.append(f"left out: {photos} of classes that training lacks: {shown}{more}")
  if counts["alone"]:
    photos = words.counted(counts["alone"], "photo")
    lines.append(f"{photos} alone in their class: to learn from, none to answer")
  if counts["same"]:
    photos = words.counted(counts["same"], "answered photo")
    lines.append(
      f"{photos} with exactly the features of one to learn from: the same photo, which "
      "makes accuracy too high"
    )
  return "\n".join(lines)


def _linear(head: logistic.Logistic, asked: Samples) -> Int[np.ndarray, " n"]:
  found = []
  for begin in range(0, len(asked.labels), _ROWS):
    part = slice(begin, begin + _ROWS)
    logits = asked.values[part].astype(np.float64) @ head.kernel + head.bias
    found.append(knn.rank(logits, asked.labels[part]))
  return np.concatenate(found)


def _row(
  method: str, ranks: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> dict[str, Any]:
  row: dict[str, Any] = {"method": method}
  for k in TOP_K:
    right = int((ranks < k).sum())
    row[f"top_{k}"] = right / len(ranks)
    row[f"top_{k}_low"], row[f"top_{k}_high"] = accuracy.wilson(right, len(ranks))
  row["per_class"] = _per_class(ranks < 1, labels)
  return row


def _per_class(
  right: Float[np.ndarray, " n"] | Any, labels: Int[np.ndarray, " n"]
) -> float:
  """Mean over the classes that were asked for, each of the same weight."""
  photos = np.bincount(labels)
  shares = np.bincount(labels, right)[photos > 0] / photos[photos > 0]
  return float(shares.mean())

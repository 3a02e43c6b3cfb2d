"""Weights and photos -> what a run's page says of the weights' answers."""

from pathlib import Path
from typing import Any

from im21k import weights, words
from im21k.answers import calibration
from im21k.evaluation import accuracy, inputs, outputs, results
from im21k.pages import matrix, mistakes, render
from im21k.synsets import hierarchy


def evaluate(
  folder: Path, data: Path, split: inputs.Split | None, most: int, batch_size: int
) -> dict[str, Any]:
  """`images`, `top_1`, `own`, `counts`, `failed`; and `mistakes` for the template.

  Args:
    folder: release folder.
    data: photos, as `report` takes them.
    split: of packed photos.
    most: number of photos, at most.
    batch_size: photos at a time.
  """
  split = inputs.split_for(data, split, "eval")
  released = weights.load(folder)
  photos = inputs.open_shuffled(data, split, classes=released.classes)
  computed = outputs.compute(released, photos, most=most, batch_size=batch_size)
  labels = computed.labels
  calibrated = calibration.load(folder / weights.ARRAYS) or calibration.Calibration()
  answers = mistakes.Answers(
    hierarchy.to_show(released.classes),
    calibrated.probabilities(computed.logits),
    labels,
  )
  right = int((computed.logits.argmax(1) == labels).sum())
  best, worst = mistakes.best_and_worst(answers)
  levels, gallery = mistakes.gallery(answers)
  confusion, opened = matrix.confusion(answers.hierarchy, answers.first, labels)
  chosen = sorted({one.photo for one in (*best, *worst, *gallery)})
  # Asked once, for archives are slow to search.
  found = photos.pick(computed.positions[chosen].tolist()) if chosen else []
  source = {
    at: render.data_uri(render.thumbnail(inputs.square(photo, released.input)))
    for at, photo in zip(chosen, found, strict=True)
  }
  rows = mistakes.classes(answers)
  score = _with_interval(right, len(labels))
  return {
    "images": len(labels),
    "top_1": right / len(labels),
    "own": bool(released.classes.own),
    "counts": computed.counts(),
    "failed": results.failed(computed.bad),
    "mistakes": {
      "summary": f"{_counted(computed, split)}, top-1 accuracy {score}.",
      "matrix": confusion,
      "opened": opened,
      "levels": levels,
      "gallery": gallery,
      "best": best,
      "worst": worst,
      "source": source,
      "classes": rows[: mistakes.MOST_CLASSES],
      "left_out": max(0, len(rows) - mistakes.MOST_CLASSES),
    },
  }


def _with_interval(right: int, count: int) -> str:
  low, high = accuracy.wilson(right, count)
  return f"{100 * right / count:.1f} % ({100 * low:.1f} to {100 * high:.1f} with 95 %)"


def _counted(computed: outputs.Outputs, split: str | None) -> str:
  """How many photos were evaluated, and how many could not be."""
  used = words.counted(len(computed.labels), f"{split} photo" if split else "photo")
  rest = computed.counts()["photos"] - len(computed.labels)
  return f"{used}{f' ({rest:,} more cannot be scored)' if rest else ''}"

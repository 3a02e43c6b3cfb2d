"""Names for photos: the most likely classes of released weights."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from im21k import weights
from im21k.data import images
from im21k.inference import plots
from im21k.inference.classifier import Classifier

_BATCH = 16


def predict(
  weights_dir: Path, *image: Path, top_k: int = 5, plot: Path | None = None
) -> dict[str, Any]:
  """Names the most likely classes of photos.

  Args:
    weights_dir: folder that a run exported.
    image: any common image files.
    top_k: how many classes to name.
    plot: draw the photos beside their probabilities into this PNG file; up to 50
      images, and 20 classes of each.

  Returns:
    `predictions`: for each image `image` and `top`, a list of `synset`, `name` and
    `probability`, most likely first.

  Raises:
    FileNotFoundError: the weights or an image are missing.
    ValueError: a file is no image, the weights are damaged, top_k is below 1, or there
      are too many images for a plot.
  """
  if top_k < 1:
    raise ValueError(f"top_k is {top_k}, but must be at least 1")
  if not image:
    raise ValueError("no image is named")
  if plot and len(image) > plots.MOST_PHOTOS:
    raise ValueError(
      f"a plot has room for {plots.MOST_PHOTOS} images, but {len(image)} are named"
    )
  released = weights.load(weights_dir)
  shown: list[np.ndarray] = []

  def photos() -> Iterator[np.ndarray]:
    for path in image:
      photo = images.read(path)
      if plot:
        shown.append(plots.thumbnail(photo))
      yield photo

  probabilities = probabilities_of(released, photos())
  predictions: list[dict[str, Any]] = [
    {"image": str(path), "top": _top(released, row, top_k)}
    for path, row in zip(image, probabilities, strict=True)
  ]
  if plot:
    plots.draw_predictions(plot, shown, [p["top"] for p in predictions])
  return {"predictions": predictions, "plot": str(plot) if plot else None}


def probabilities_of(
  released: weights.Weights, photos: Iterable[np.ndarray]
) -> np.ndarray:
  """Photos, each `[h, w, 3]` uint8 RGB -> probabilities `[photos, classes]`.

  One photo at a time is held in full, so an iterator serves for any number of them.
  """
  model = Classifier(released)
  squares = model.prepare(photos)
  # Whole batches only, so that one program serves all.
  batch = min(_BATCH, len(squares))
  filled = np.pad(squares, [(0, -len(squares) % batch)] + [(0, 0)] * 3)
  parts = [
    np.asarray(jax.nn.softmax(model.logits(filled[i : i + batch])))
    for i in range(0, len(filled), batch)
  ]
  return np.concatenate(parts)[: len(squares)]


def text(result: dict[str, Any]) -> str:
  """The result of `predict` for people."""
  lines = []
  for prediction in result["predictions"]:
    lines.append(prediction["image"])
    for top in prediction["top"]:
      lines.append(f"  {top['probability']:7.2%}  {top['synset']}  {top['name']}")
  if result["plot"]:
    lines.append(f"picture: {result['plot']}")
  return "\n".join(lines)


def _top(released: weights.Weights, row: np.ndarray, k: int) -> list[dict[str, Any]]:
  best = np.argsort(-row, kind="stable")[:k]
  return [
    {
      "synset": released.classes.synsets[index],
      "name": released.classes.names[index],
      "probability": float(row[index]),
    }
    for index in best
  ]

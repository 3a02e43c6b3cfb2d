"""Names for photos: the most likely classes of released weights."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from im21k import synsets, weights
from im21k.data import images
from im21k.inference import answers, calibrate, hierarchy, page, plots
from im21k.inference.classifier import Classifier
from im21k.synsets import lookup

_BATCH = 16
_ANSWERS = ("flat", "hedged", "diverse")


def predict(
  weights_dir: Path,
  *image: Path,
  top_k: int = 5,
  answer: str = "flat",
  accuracy: float = 0.9,
  under: str | None = None,
  classes: str | None = None,
  only: str | None = None,
  definitions: bool = False,
  plot: Path | None = None,
  report: Path | None = None,
) -> dict[str, Any]:
  """Names what photos show: the most likely classes, or what is above them.

  Where `im21k calibrate` has been run, probabilities are calibrated.

  Args:
    weights_dir: folder that a run exported.
    image: any common image files.
    top_k: how many to name.
    answer: flat, the most likely classes; hedged, the most telling answer that is
      right as often as accuracy asks; diverse, different things that do not contain
      one another.
    accuracy: of hedged answers; one that was calibrated.
    under: only classes at or below these synset ids, with commas between.
    classes: only classes of this list: ilsvrc2012, or a text file of synset ids.
    only: only leaves (classes with none below), or only objects (physical ones).
    definitions: tell what the names mean.
    plot: draw the photos beside their probabilities into this PNG file; up to 50
      images, and 20 classes of each.
    report: write one page with photos, flat, diverse and (where calibrated) hedged
      answers, and a tree, into this HTML file; up to 50 images.

  Returns:
    `predictions`: for each image `image` and `top`, a list of `synset`, `name` and
    `probability` (and `definition`), most likely first; and where classes are left
    out `none`, the probability that it is none of the others: those in `top` are
    given that it is one of them.

  Raises:
    FileNotFoundError: the weights or an image are missing.
    ValueError: a file is no image, the weights are damaged or not calibrated for such
      an answer, top_k is below 1, or there are too many images for a plot.
  """
  if top_k < 1:
    raise ValueError(f"top_k is {top_k}, but must be at least 1")
  if not image:
    raise ValueError("no image is named")
  if report and len(image) > page.MOST_PHOTOS:
    raise ValueError(
      f"a report has room for {page.MOST_PHOTOS} images, but {len(image)} are named"
    )
  if plot and len(image) > plots.MOST_PHOTOS:
    raise ValueError(
      f"a plot has room for {plots.MOST_PHOTOS} images, but {len(image)} are named"
    )
  if answer not in _ANSWERS:
    raise ValueError(f"answer is {answer!r}, but must be one of {', '.join(_ANSWERS)}")
  released = weights.load(weights_dir)
  calibration = calibrate.load(weights_dir)
  trade = 0.0
  if answer == "hedged":
    if calibration is None:
      raise ValueError(
        f"{weights_dir} is not calibrated, so no accuracy can be promised: run "
        "im21k calibrate first"
      )
    trade = calibration.trade(accuracy)
  allowed = None
  if under or classes or only:
    if answer == "hedged":
      raise ValueError("hedged answers are calibrated over all classes, not some")
    allowed = answers.allowed_classes(
      hierarchy.over(released.classes),
      released.classes,
      under.split(",") if under else (),
      synsets.get(classes) if classes else None,
      only,
    )
  shown: list[np.ndarray] = []

  def photos() -> Iterator[np.ndarray]:
    for path in image:
      photo = images.read(path)
      if plot or report:
        shown.append(plots.thumbnail(photo))
      yield photo

  temperature = calibration.temperature if calibration else 1.0
  probabilities = probabilities_of(released, photos(), temperature)
  none = None
  if allowed is not None:
    probabilities, none = answers.among(probabilities, allowed)
  if answer == "flat":
    found = [_top(released, row, top_k, allowed) for row in probabilities]
  else:
    graph = hierarchy.over(released.classes)
    nodes = graph.probabilities(probabilities)
    if answer == "hedged":
      chosen = [[one] for one in answers.hedged(graph, nodes, trade)]
    else:
      chosen = answers.diverse(graph, nodes, top_k)
    found = [
      [_named(graph.ids[node], probability) for node, probability in some]
      for some in chosen
    ]
  predictions: list[dict[str, Any]] = [
    {"image": str(path), "top": top} for path, top in zip(image, found, strict=True)
  ]
  for at, prediction in enumerate(predictions):
    if none is not None:
      prediction["none"] = float(none[at])
    if definitions:
      for top in prediction["top"]:
        top["definition"] = synsets.load().definition(top["synset"])
  if plot:
    plots.draw_predictions(plot, shown, [p["top"] for p in predictions])
  if report:
    graph = hierarchy.over(released.classes)
    hedge_for = None
    if calibration and allowed is None and accuracy in calibration.trades:
      hedge_for = (accuracy, calibration.trade(accuracy))
    told = _all_answers(released, probabilities, top_k, allowed, hedge_for)
    page.write(report, graph, [path.name for path in image], shown, probabilities, told)
  return {
    "predictions": predictions,
    "plot": str(plot) if plot else None,
    "report": str(report) if report else None,
  }


def probabilities_of(
  released: weights.Weights, photos: Iterable[np.ndarray], temperature: float = 1.0
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
    np.asarray(jax.nn.softmax(model.logits(filled[i : i + batch]) / temperature))
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
      if "definition" in top:
        lines.append(f"{'':<22}{top['definition']}")
    if "none" in prediction:
      lines.append(f"  {prediction['none']:7.2%}  none of them")
  if result["plot"]:
    lines.append(f"picture: {result['plot']}")
  if result.get("report"):
    lines.append(f"page: {result['report']}")
  return "\n".join(lines)


def _all_answers(
  released: weights.Weights,
  probabilities: np.ndarray,
  k: int,
  allowed: np.ndarray | None,
  hedge_for: tuple[float, float] | None,
) -> list[dict[str, list[dict[str, Any]]]]:
  """What a page shows of each photo; `hedge_for` is an accuracy and its trade."""
  graph = hierarchy.over(released.classes)
  nodes = graph.probabilities(probabilities)
  various = answers.diverse(graph, nodes, k)
  found = []
  for row, some in zip(probabilities, various, strict=True):
    diverse = [_named(graph.ids[node], p) for node, p in some]
    found.append({"Flat": _top(released, row, k, allowed), "Diverse": diverse})
  if hedge_for:
    accuracy, trade = hedge_for
    for told, (node, p) in zip(found, answers.hedged(graph, nodes, trade), strict=True):
      told[f"Hedged, right in {accuracy:.0%}"] = [_named(graph.ids[node], p)]
  return found


def _top(
  released: weights.Weights, row: np.ndarray, k: int, allowed: np.ndarray | None
) -> list[dict[str, Any]]:
  best = np.argsort(-row, kind="stable")
  if allowed is not None:
    best = best[allowed[best]]
  names, ids = released.classes.names, released.classes.synsets
  return [
    {"synset": ids[index], "name": names[index], "probability": float(row[index])}
    for index in best[:k]
  ]


def _named(synset: str, probability: float) -> dict[str, Any]:
  name = lookup.distinct_name(synset)
  return {"synset": synset, "name": name, "probability": probability}

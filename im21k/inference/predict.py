"""Names for photos: the most likely classes of released weights."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from im21k import synsets, weights
from im21k.answers import calibration as calibrations
from im21k.answers import naming, rules
from im21k.inference.classifier import Classifier
from im21k.pages import figures, photo_page
from im21k.photos import images
from im21k.synsets import hierarchy

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
  only: rules.Only | None = None,
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
  _check(image, top_k, answer, plot, report)
  released = weights.load(weights_dir)
  calibration = calibrations.load(weights_dir / weights.ARRAYS)
  trade = _trade(weights_dir, calibration, accuracy) if answer == "hedged" else 0.0
  allowed = None
  if under or classes or only:
    if answer == "hedged":
      raise ValueError("hedged answers are calibrated over all classes, not some")
    allowed = _allowed(released.classes, under, classes, only)
  shown: list[np.ndarray] = []

  def photos() -> Iterator[np.ndarray]:
    for path in image:
      photo = images.read(path)
      if plot or report:
        shown.append(figures.thumbnail(photo))
      yield photo

  temperature = calibration.temperature if calibration else 1.0
  probabilities = probabilities_of(released, photos(), temperature)
  none = None
  if allowed is not None:
    probabilities, none = rules.among(probabilities, allowed)
  namer = naming.Namer(released.classes, top_k, allowed)
  if answer == "hedged":
    tops = namer.hedged(probabilities, trade)
  else:
    tops = (namer.flat if answer == "flat" else namer.diverse)(probabilities)
  if plot:
    figures.draw_predictions(plot, shown, tops)
  if report:
    # Over some classes nothing is promised.
    promised = calibration if allowed is None else None
    told = _told(namer, probabilities, accuracy, promised)
    photo_page.write(
      report, namer.graph, [p.name for p in image], shown, probabilities, told
    )
  if definitions:
    for top in (one for some in tops for one in some):
      top["definition"] = synsets.load().definition(top["synset"])
  predictions: list[dict[str, Any]] = [
    {"image": str(path), "top": top} for path, top in zip(image, tops, strict=True)
  ]
  if none is not None:
    for prediction, rest in zip(predictions, none, strict=True):
      prediction["none"] = float(rest)
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


def _told(
  namer: naming.Namer,
  probabilities: np.ndarray,
  accuracy: float,
  calibration: calibrations.Calibration | None,
) -> list[dict[str, naming.Named]]:
  """Each photo's answers of every kind, by heading."""
  told = {"Flat": namer.flat(probabilities), "Diverse": namer.diverse(probabilities)}
  if calibration and accuracy in calibration.lambdas:
    trade = calibration.lambda_for(accuracy)
    told[f"Hedged, right in {accuracy:.0%}"] = namer.hedged(probabilities, trade)
  return [
    dict(zip(told, some, strict=True)) for some in zip(*told.values(), strict=True)
  ]


def _check(
  image: tuple[Path, ...],
  top_k: int,
  answer: str,
  plot: Path | None,
  report: Path | None,
) -> None:
  if top_k < 1:
    raise ValueError(f"top_k is {top_k}, but must be at least 1")
  if not image:
    raise ValueError("no image is named")
  if answer not in _ANSWERS:
    raise ValueError(f"answer is {answer!r}, but must be one of {', '.join(_ANSWERS)}")
  for what, asked, most in (
    ("report", report, photo_page.MOST_PHOTOS),
    ("plot", plot, figures.MOST_PHOTOS),
  ):
    if asked and len(image) > most:
      raise ValueError(
        f"a {what} has room for {most} images, but {len(image)} are named"
      )


def _trade(
  weights_dir: Path, calibration: calibrations.Calibration | None, accuracy: float
) -> float:
  if calibration is None:
    raise ValueError(
      f"{weights_dir} is not calibrated, so no accuracy can be promised: run "
      "im21k calibrate first"
    )
  return calibration.lambda_for(accuracy)


def _allowed(
  known: synsets.ClassList,
  under: str | None,
  classes: str | None,
  only: rules.Only | None,
) -> np.ndarray:
  return rules.allowed_classes(
    hierarchy.over(known),
    known,
    under.split(",") if under else (),
    synsets.get(classes) if classes else None,
    only,
  )

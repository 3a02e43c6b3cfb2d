"""Weights and photos -> the names of what the photos show."""

import itertools
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32

from im21k import synsets, weights
from im21k.answers import calibration as calibrations
from im21k.answers import naming, rules
from im21k.inference.classifier import Classifier
from im21k.inference.classify import Pixels, batches, read_photos
from im21k.pages import figures, photo_page
from im21k.synsets import hierarchy

Answer = Literal["flat", "hedged", "diverse"]


def predict(
  weights_dir: Path,
  *photos: Path,
  top_k: int = 5,
  answer: Answer = "flat",
  accuracy: float = 0.9,
  under: str | None = None,
  classes: str | None = None,
  only: rules.Only | None = None,
  definitions: bool = False,
  plot: Path | None = None,
  report: Path | None = None,
) -> dict[str, Any]:
  """Names what photos show: the most likely classes, or broader terms above them.

  Probabilities are calibrated where `im21k calibrate` has been run on the weights.

  Args:
    weights_dir: Release folder of the weights.
    photos: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars
      or of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS,
      or tfds:NAME:SPLIT.
    top_k: Number of answers for each photo.
    answer: Kind of answer: flat is the most likely classes; hedged is the most specific
      term that is right as often as accuracy asks; diverse is different things none of
      which contains another.
    accuracy: Accuracy of hedged answers, one of those that were calibrated.
    under: Answer only with classes at or below these synset ids, separated by commas.
    classes: Answer only with classes of this list: ilsvrc2012, or a text file of synset
      ids.
    only: Answer only with leaves (classes without subclasses) or only with physical
      objects.
    definitions: Add the definition of each name.
    plot: PNG file for a picture of the photos beside their probabilities; at most 50
      photos, and 20 classes of each.
    report: HTML file for a page with photos, flat, diverse and (where calibrated)
      hedged answers, and a tree; at most 50 photos.

  Returns:
    `predictions`: for each photo `image` and `top`, a list of `synset`, `name` and
    `probability` (and `definition`), most likely first; where classes are left out also
    `none`, the probability of all the other classes: the probabilities in `top` assume
    that it is none of those. `bad`: photos in folders and archives that cannot be
    decoded, each `photo` and `reason`.

  Raises:
    FileNotFoundError: the weights or a photo are missing.
    ValueError: a file is not an image, no photo can be decoded, the weights are damaged
      or not calibrated for such an answer, top_k is below 1, or there are too many
      photos for a plot.
  """
  if top_k < 1:
    raise ValueError(f"top_k is {top_k}, but must be at least 1")
  if not photos:
    raise ValueError("no photo is named")
  _check_room(len(photos), plot, report)
  released = weights.load(weights_dir)
  calibration = calibrations.load(weights_dir / weights.ARRAYS)
  lambda_ = _lambda(weights_dir, calibration, accuracy) if answer == "hedged" else 0.0
  allowed = _allowed(released.classes, answer, under, classes, only)
  namer = naming.Namer(released.classes, top_k, allowed)
  temperature = calibration.temperature if calibration else 1.0
  predictions: list[dict[str, Any]] = []
  bad: list[dict[str, str]] = []
  thumbnails: list[Pixels] = []
  described: list[photo_page.PhotoAnswers] = []
  model, drawn = Classifier(released), bool(plot or report)
  pixels = read_photos(photos, released.classes, bad)
  for batch in batches(model, pixels, temperature, thumbnails=drawn):
    _check_room(len(predictions) + len(batch.names), plot, report)
    p, none = batch.probabilities, None
    if allowed is not None:
      p, none = rules.among(p, allowed)
    tops = _named(namer, answer, lambda_, p)
    predictions += _predictions(batch.names, tops, none, definitions)
    thumbnails += batch.thumbnails
    if report:
      # Accuracy is calibrated over all classes only.
      known = calibration if allowed is None else None
      every = _every_answer(namer, p, accuracy, known)
      shown = [Path(name).name for name in batch.names]
      described += map(photo_page.PhotoAnswers, shown, batch.thumbnails, p, every)
  if not predictions:
    raise ValueError(f"{photos[0]}: none of {len(bad):,} photos can be decoded")
  if plot:
    tops = [prediction["top"] for prediction in predictions]
    figures.draw_predictions(plot, thumbnails, tops)
  if report:
    photo_page.write(report, namer.graph, described)
  return {
    "predictions": predictions,
    "bad": bad,
    "plot": str(plot) if plot else None,
    "report": str(report) if report else None,
  }


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
  if bad := result["bad"]:
    shown = [f"{one['photo']} ({one['reason']})" for one in bad[:5]]
    more = "; …" if len(bad) > len(shown) else ""
    lines.append(f"{len(bad):,} photos cannot be decoded: {'; '.join(shown)}{more}")
  if result["plot"]:
    lines.append(f"picture: {result['plot']}")
  if result.get("report"):
    lines.append(f"page: {result['report']}")
  return "\n".join(lines)


def _check_room(photos: int, plot: Path | None, report: Path | None) -> None:
  """ValueError if a picture or page is asked for of more photos than it holds."""
  for what, asked, most in (
    ("report", report, photo_page.MOST_PHOTOS),
    ("plot", plot, figures.MOST_PHOTOS),
  ):
    if asked and photos > most:
      raise ValueError(
        f"a {what} has room for {most} photos, but there are {photos}: name fewer"
      )


def _lambda(
  weights_dir: Path, calibration: calibrations.Calibration | None, accuracy: float
) -> float:
  if calibration is None:
    raise ValueError(
      f"{weights_dir} is not calibrated, so hedged answers cannot reach an accuracy: "
      "run im21k calibrate first"
    )
  return calibration.lambda_for(accuracy)


def _allowed(
  known: synsets.ClassList,
  answer: Answer,
  under: str | None,
  classes: str | None,
  only: rules.Only | None,
) -> Bool[np.ndarray, " classes"] | None:
  """Which classes may be answered; None: all."""
  if not (under or classes or only):
    return None
  if answer == "hedged":
    raise ValueError(
      "hedged answers are calibrated over all classes: leave out under, classes "
      "and only"
    )
  return rules.allowed_classes(
    hierarchy.over(known),
    known,
    under.split(",") if under else (),
    synsets.get(classes) if classes else None,
    only,
  )


def _named(
  namer: naming.Namer,
  answer: Answer,
  lambda_: float,
  probabilities: Float32[np.ndarray, "b classes"],
) -> list[naming.Named]:
  match answer:
    case "flat":
      return namer.flat(probabilities)
    case "hedged":
      return namer.hedged(probabilities, lambda_)
    case "diverse":
      return namer.diverse(probabilities)
  raise ValueError(f"answer is {answer!r}, but must be flat, hedged or diverse")


def _predictions(
  names: list[str],
  tops: list[naming.Named],
  none: Float32[np.ndarray, " b"] | None,
  definitions: bool,
) -> list[dict[str, Any]]:
  """What `predict` returns for each photo."""
  if definitions:
    for named in itertools.chain.from_iterable(tops):
      named["definition"] = synsets.load().definition(named["synset"])
  predictions: list[dict[str, Any]] = [
    {"image": name, "top": top} for name, top in zip(names, tops, strict=True)
  ]
  if none is not None:
    for prediction, rest in zip(predictions, none, strict=True):
      prediction["none"] = float(rest)
  return predictions


def _every_answer(
  namer: naming.Namer,
  probabilities: Float32[np.ndarray, "b classes"],
  accuracy: float,
  calibration: calibrations.Calibration | None,
) -> list[dict[str, naming.Named]]:
  """Each photo's answers of every kind, by heading."""
  answers = {
    "Flat": namer.flat(probabilities),
    "Diverse": namer.diverse(probabilities),
  }
  if calibration and accuracy in calibration.lambdas:
    heading = f"Hedged for {accuracy:.0%} accuracy"
    answers[heading] = namer.hedged(probabilities, calibration.lambda_for(accuracy))
  return [
    dict(zip(answers, some, strict=True))
    for some in zip(*answers.values(), strict=True)
  ]

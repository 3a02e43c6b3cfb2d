"""Weights and photos -> the names of what the photos show."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from im21k import synsets, targets, weights, words
from im21k.answers import calibration as calibrations
from im21k.answers import naming, rules
from im21k.inference import choices
from im21k.inference.classifier import Classifier
from im21k.inference.classify import Pixels, batches, read_photos
from im21k.pages import figures, photo_page
from im21k.synsets import hierarchy, lookup

_TOP_K, _ACCURACY = 5, 0.9


def predict(
  weights_dir: Path,
  *photos: Path,
  top_k: int | None = None,
  answer: choices.Answer = "flat",
  accuracy: float | None = None,
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
    top_k: Number of answers for each photo, 5 by default; a hedged answer is one.
    answer: Kind of answer: flat is the most likely classes; hedged is the most specific
      term that is right as often as accuracy asks; diverse is different things none of
      which contains another.
    accuracy: Accuracy of hedged answers, one of those that were calibrated; 0.9 by
      default.
    under: Answer only with classes at or below these synset ids, separated by commas.
    classes: Answer only with classes of this list: ilsvrc2012, or a text file of synset
      ids.
    only: Answer only with leaves (classes without subclasses) or only with physical
      objects.
    definitions: Add the definition of each name.
    plot: PNG file for a picture of the photos beside their probabilities; at most 50
      photos, and 20 classes of each.
    report: HTML file for a page with photos, flat, diverse and (where calibrated)
      hedged answers, and a tree; at most 50 photos. Classes without a hierarchy have
      flat answers only.

  Returns:
    `predictions`: for each photo `image` and `top`, a list of `synset`, `name` and
    `probability` (and `definition`), most likely first; where classes are left out also
    `none`, the probability of all the other classes: the probabilities in `top` assume
    that it is none of those. `bad`: photos that cannot be decoded or found, each
    `photo` and `reason`, and `lost_bytes` where it stands for a part of an archive.
    `failed`, if there is such a part, or some of these were named in `photos`.

  Raises:
    FileNotFoundError: the weights are missing.
    ValueError: no photo can be decoded, the weights are damaged or not calibrated for
      such an answer, top_k is out of range, an option does not apply, or there are too
      many photos for a plot.
  """
  if not photos:
    raise ValueError("no photo is named")
  choices.check_options(answer, top_k, accuracy, report)
  choices.check_room(len(photos), plot, report)
  targets.check([weights_dir, *photos], plot=plot, report=report)
  released = weights.load(weights_dir)
  if top_k is not None and top_k > len(released.classes):
    raise ValueError(
      f"top_k is {top_k}, but the weights have "
      f"{words.counted(len(released.classes), 'class')}"
    )
  if answer != "flat":
    hierarchy.over(released.classes)  # An error now, not after the first photos.
  calibration = calibrations.load(weights_dir / weights.ARRAYS)
  allowed = choices.allowed_classes(
    released.classes, answer, accuracy, under, classes, only
  )
  lambda_ = 0.0
  if answer == "hedged" or accuracy is not None:
    lambda_ = choices.lambda_of(weights_dir, calibration, accuracy or _ACCURACY)
  namer = naming.Namer(released.classes, top_k or _TOP_K, allowed)
  temperature = calibration.temperature if calibration else 1.0
  predictions: list[dict[str, Any]] = []
  bad: list[dict[str, Any]] = []
  thumbnails: list[Pixels] = []
  described: list[photo_page.PhotoAnswers] = []
  model, drawn = Classifier(released), bool(plot or report)
  pixels = read_photos(photos, released.classes, bad)
  for batch in batches(model, pixels, temperature, thumbnails=drawn):
    choices.check_room(len(predictions) + len(batch.names), plot, report)
    p, none = batch.probabilities, None
    if allowed is not None:
      p, none = rules.among(p, allowed)
    tops = _named(namer, answer, lambda_, p)
    predictions += _predictions(batch.names, tops, none, definitions, released.classes)
    thumbnails += batch.thumbnails
    if report:
      # Accuracy is calibrated over all classes only.
      known = calibration if allowed is None else None
      every = _every_answer(namer, p, accuracy or _ACCURACY, known)
      shown = [Path(name).name for name in batch.names]
      described += map(photo_page.PhotoAnswers, shown, batch.thumbnails, p, every)
  if not predictions:
    raise ValueError(_none(photos, bad))
  if plot:
    tops = [prediction["top"] for prediction in predictions]
    figures.draw_predictions(plot, thumbnails, tops)
  if report:
    shown_graph = hierarchy.to_show(released.classes)
    photo_page.write(report, shown_graph, described)
  return {
    "predictions": predictions,
    "bad": bad,
    "plot": str(plot) if plot else None,
    "report": str(report) if report else None,
    **_failed(photos, bad),
  }


def text(result: dict[str, Any]) -> str:
  """The result of `predict` for people."""
  lines = []
  for prediction in result["predictions"]:
    lines.append(prediction["image"])
    for top in prediction["top"]:
      what = " ".join(dict.fromkeys((top["synset"], "", top["name"])))
      lines.append(f"  {top['probability']:7.2%}  {what.strip()}")
      if "definition" in top:
        lines.append(f"{'':<22}{top['definition']}")
    if "none" in prediction:
      lines.append(f"  {prediction['none']:7.2%}  none of them")
  if bad := result["bad"]:
    shown = [f"{one['photo']} ({one['reason']})" for one in bad[:5]]
    more = "; …" if len(bad) > len(shown) else ""
    what = words.counted(len(bad), "photo")
    lines.append(f"{what} cannot be decoded: {'; '.join(shown)}{more}")
  if result["plot"]:
    lines.append(f"picture: {result['plot']}")
  if result.get("report"):
    lines.append(f"page: {result['report']}")
  return "\n".join(lines)


def _none(photos: Sequence[Path], bad: list[dict[str, Any]]) -> str:
  """The error where no photo could be decoded: how many, and why not the first."""
  if not bad:
    return f"{photos[0]}: it holds no photos"
  first = f"{bad[0]['photo']}: {bad[0]['reason']}"
  if len(bad) == 1:
    return first
  return f"none of {len(bad):,} photos can be decoded; {first}"


def _failed(photos: Sequence[Path], bad: list[dict[str, Any]]) -> dict[str, str]:
  """`failed`, if what was asked for by name could not be answered."""
  named = {str(place) for place in photos}
  missed = [row for row in bad if row["photo"] in named]
  cut = [row for row in bad if "lost_bytes" in row]
  if not missed and cut:
    lost = words.counted(sum(row["lost_bytes"] for row in cut), "byte")
    return {
      "failed": f"{lost} could not be read; {cut[0]['photo']}: {cut[0]['reason']}"
    }
  if not missed:
    return {}
  first = f"{missed[0]['photo']}: {missed[0]['reason']}"
  return {
    "failed": f"{len(missed):,} of {len(photos):,} named photos have no answer; {first}"
  }


def _named(
  namer: naming.Namer,
  answer: choices.Answer,
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
  classes: synsets.ClassList,
) -> list[dict[str, Any]]:
  """What `predict` returns for each photo."""
  if definitions:
    under = dict(zip(classes.synsets, classes.under, strict=False))
    for named in itertools.chain.from_iterable(tops):
      above = under.get(named["synset"])
      described = lookup.definition(named["synset"], [above] if above else [])
      named["definition"] = described
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
  answers = {"Flat": namer.flat(probabilities)}
  if hierarchy.has(namer.classes):
    answers["Diverse"] = namer.diverse(probabilities)
  if calibration and accuracy in calibration.lambdas:
    heading = f"Hedged for {accuracy:.0%} accuracy"
    answers[heading] = namer.hedged(probabilities, calibration.lambda_for(accuracy))
  return [
    dict(zip(answers, some, strict=True))
    for some in zip(*answers.values(), strict=True)
  ]

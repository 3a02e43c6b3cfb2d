"""Weights and photos -> the names of what the photos show."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from im21k import targets, weights, words
from im21k.answers import calibration as calibrations
from im21k.answers import naming, rules
from im21k.inference import choices, places
from im21k.inference.answering import Answerer, Row, Tally
from im21k.inference.classifier import Classifier
from im21k.inference.classify import batches
from im21k.inference.drawn import Drawn
from im21k.pages import figures
from im21k.synsets import hierarchy

_TOP_K, _ACCURACY = 5, 0.9
_FEW = 20  # Photos whose answers have a line each.
_SLOW = 5  # seconds, after which there is a line of progress


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
  json_lines: bool = False,
) -> dict[str, Any]:
  """Names what photos show: the most likely classes, or broader terms above them.

  Probabilities are calibrated where `im21k calibrate` has been run on the weights.

  Args:
    weights_dir: Release folder of the weights.
    photos: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars
      or of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS,
      or tfds:NAME:SPLIT; a pattern such as 'holiday/**/*.jpg'; or - for paths on
      standard input, one a line or as find -print0 writes them.
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
    json_lines: Print a line of JSON for each photo as soon as it is answered: image and
      top, or image and reason.

  Returns:
    `predictions`: for each photo `image` and `top`, a list of `synset`, `name` and
    `probability` (and `definition`), most likely first; where classes are left out also
    `none`, the probability of all the other classes: the probabilities in `top` assume
    that it is none of those. `bad`: photos that cannot be decoded or found, each
    `photo` and `reason`, and `lost_bytes` where it stands for a part of an archive.
    `failed`, if there are any of those. With `json_lines` only `lines`, an iterator
    over a row for each photo, in order; `failed` is there after the last one.

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
  weights_dir = weights.find(weights_dir)
  named = places.named(photos)
  if plot or report:
    listed = list(itertools.islice(named, figures.MOST_PHOTOS + 1))
    choices.check_room(len(listed), plot, report)
    targets.check([weights_dir, *listed], plot=plot, report=report)
    named = iter(listed)
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
  drawn = Drawn(plot, report, namer, accuracy or _ACCURACY, calibration)
  answerer = Answerer(namer, answer, lambda_, definitions)
  tally = Tally()
  stream = places.Places(named, released.classes).photos()
  rows = _rows(Classifier(released), stream, answerer, drawn, calibration, tally)
  if json_lines:
    result: dict[str, Any] = {}
    result["lines"] = _reported(rows, tally, result)
    return result
  predictions: list[Row] = []
  bad: list[Row] = []
  for row in tqdm(rows, unit=" photos", delay=_SLOW, leave=False, disable=None):
    if "top" in row:
      predictions.append(row)
    else:
      bad.append({"photo": row.pop("image"), **row})
  if not predictions:
    raise ValueError(_none(tally))
  return {
    "predictions": predictions,
    "bad": bad,
    "plot": str(plot) if plot else None,
    "report": str(report) if report else None,
    **({"failed": tally.failed} if tally.failed else {}),
  }


def text(result: dict[str, Any]) -> str:
  """The result of `predict` for people; of many photos a line each."""
  describe = _lines if len(result["predictions"]) <= _FEW else _line
  lines = [line for one in result["predictions"] for line in describe(one)]
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


def _lines(prediction: Row) -> Iterator[str]:
  """A photo's answers, each on a line."""
  yield prediction["image"]
  for top in prediction["top"]:
    what = " ".join(dict.fromkeys((top["synset"], "", top["name"])))
    yield f"  {top['probability']:7.2%}  {what.strip()}"
    if "definition" in top:
      yield f"{'':<22}{top['definition']}"
  if "none" in prediction:
    yield f"  {prediction['none']:7.2%}  none of them"


def _line(prediction: Row) -> Iterator[str]:
  """A photo's answers in one line, each by its first name."""
  if any("definition" in top for top in prediction["top"]):
    yield from _lines(prediction)
    return
  named = [
    f"{top['probability']:.1%} {top['name'].partition(',')[0]}"
    for top in prediction["top"]
  ]
  if "none" in prediction:
    named.append(f"{prediction['none']:.1%} none of them")
  yield f"{prediction['image']}: {', '.join(named)}"


def _rows(
  model: Classifier,
  photos: Iterator[Any],
  answerer: Answerer,
  drawn: Drawn,
  calibration: calibrations.Calibration | None,
  tally: Tally,
) -> Iterator[Row]:
  """A row for each photo; after the last, what is to be drawn is drawn."""
  temperature = calibration.temperature if calibration else 1.0
  small = drawn.is_asked_for
  for batch in batches(model, photos, temperature, thumbnails=small):
    rows = list(answerer.rows(batch))
    drawn.add(batch, rows)
    for row in rows:
      tally.count(row)
      yield row
  if tally.photos > tally.bad:
    drawn.write(model.classes)


def _reported(
  rows: Iterator[Row], tally: Tally, result: dict[str, Any]
) -> Iterator[Row]:
  """The same rows; then `failed` of the result is known."""
  yield from rows
  if not tally.photos:
    raise ValueError(_none(tally))
  if tally.failed:
    result["failed"] = tally.failed


def _none(tally: Tally) -> str:
  """The error where no photo could be decoded: how many, and why not the first."""
  if not tally.bad:
    return "standard input names no photos"
  if tally.bad == 1:
    return tally.first
  return f"none of {tally.bad:,} photos can be decoded; {tally.first}"

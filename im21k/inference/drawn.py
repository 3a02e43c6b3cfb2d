"""Answered photos -> a picture and a page of them."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from im21k import synsets
from im21k.answers import calibration as calibrations
from im21k.answers import naming, rules
from im21k.inference import choices
from im21k.inference.classify import Batch, Pixels
from im21k.pages import figures, photo_page
from im21k.synsets import hierarchy


class Drawn:
  """Collects photos, and draws them at the end."""

  def __init__(
    self,
    plot: Path | None,
    report: Path | None,
    namer: naming.Namer,
    accuracy: float,
    calibration: calibrations.Calibration | None,
  ):
    """Nothing is drawn yet.

    Args:
      plot: PNG file to write; None: none.
      report: HTML file to write; None: none.
      namer: names classes on the page.
      accuracy: of hedged answers on the page.
      calibration: of the weights; None: the page has no hedged answers.
    """
    self._plot, self._report = plot, report
    self._namer, self._accuracy = namer, accuracy
    # Accuracy is calibrated over all classes only.
    self._calibration = calibration if namer.allowed is None else None
    self._thumbnails: list[Pixels] = []
    self._tops: list[naming.Named] = []
    self._described: list[photo_page.PhotoAnswers] = []

  @property
  def is_asked_for(self) -> bool:
    """Whether there is anything to draw."""
    return bool(self._plot or self._report)

  def add(self, batch: Batch, rows: list[dict[str, Any]]) -> None:
    """Adds the answered photos of a batch, whose rows these are.

    Raises:
      ValueError: there are more than a picture or page has room for.
    """
    if not self.is_asked_for:
      return
    good = batch.good
    choices.check_room(len(self._tops) + len(good), self._plot, self._report)
    small = [photo.thumbnail for photo in good if photo.thumbnail is not None]
    self._thumbnails += small
    self._tops += [row["top"] for row in rows if "top" in row]
    if self._report and good:
      p = batch.probabilities
      if self._namer.allowed is not None:
        p, _ = rules.among(p, self._namer.allowed)
      names = [Path(photo.name).name for photo in good]
      answers = every_answer(self._namer, p, self._accuracy, self._calibration)
      self._described += map(photo_page.PhotoAnswers, names, small, p, answers)

  def write(self, classes: synsets.ClassList) -> None:
    """Writes the picture and the page of photos of these classes."""
    if self._plot:
      figures.draw_predictions(self._plot, self._thumbnails, self._tops)
    if self._report:
      photo_page.write(self._report, hierarchy.to_show(classes), self._described)


def every_answer(
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

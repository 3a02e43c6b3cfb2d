"""What a user asks of `predict` -> which classes, which λ, or why it cannot be."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool

from im21k import synsets
from im21k.answers import calibration as calibrations
from im21k.answers import rules
from im21k.pages import figures, photo_page
from im21k.synsets import hierarchy

Answer = Literal["flat", "hedged", "diverse"]


def check_options(
  answer: Answer, top_k: int | None, accuracy: float | None, report: Path | None
) -> None:
  """ValueError if a number is out of range, or has no effect."""
  if top_k is not None and top_k < 1:
    raise ValueError(f"top_k is {top_k}, but must be at least 1")
  if accuracy is not None and not 0 < accuracy <= 1:
    raise ValueError(f"accuracy is {accuracy}, but must be above 0 and at most 1")
  if top_k is not None and answer == "hedged" and not report:
    raise ValueError("top_k has no effect on hedged answers, of which there is one")
  if accuracy is not None and answer != "hedged" and not report:
    raise ValueError("accuracy is for hedged answers only: add --answer hedged")


def check_room(photos: int, plot: Path | None, report: Path | None) -> None:
  """ValueError if a picture or page is asked for of more photos than it holds."""
  for what, asked, most in (
    ("report", report, photo_page.MOST_PHOTOS),
    ("plot", plot, figures.MOST_PHOTOS),
  ):
    if asked and photos > most:
      raise ValueError(
        f"a {what} has room for {most} photos, but there are {photos}: name fewer"
      )


def lambda_of(
  weights_dir: Path, calibration: calibrations.Calibration | None, accuracy: float
) -> float:
  """λ of hedged answers; ValueError if the weights are not calibrated for this."""
  if calibration is None:
    raise ValueError(
      f"{weights_dir} is not calibrated, so hedged answers cannot reach an accuracy: "
      "run im21k calibrate first"
    )
  return calibration.lambda_for(accuracy)


def allowed_classes(
  known: synsets.ClassList,
  answer: Answer,
  accuracy: float | None,
  under: str | None,
  classes: str | None,
  only: rules.Only | None,
) -> Bool[np.ndarray, " classes"] | None:
  """Which classes may be answered; None: all."""
  if not (under or classes or only):
    return None
  if answer == "hedged" or accuracy is not None:
    raise ValueError(
      "hedged answers are calibrated over all classes: leave out under, classes "
      "and only"
    )
  return rules.allowed_classes(
    hierarchy.over(known) if under or only else None,
    known,
    under.split(",") if under else (),
    synsets.get(classes) if classes else None,
    only,
  )

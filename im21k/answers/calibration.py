"""Logits -> calibrated probabilities; `calibration.json` beside the weights.

The file is bound to one file of weights by its checksum.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import special

from im21k import files

DOCUMENT = "calibration.json"
_ROWS = 64  # Of logits at a time, so that no copy of all of them is made.


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Temperature and λ of hedged answers, chosen on held-out photos.

  Attributes:
    temperature: logits are divided by it before the softmax; 1 changes nothing.
    lambdas: λ of `rules.hedged` by asked accuracy.
    images: how many photos they were chosen on.
  """

  temperature: float = 1.0
  lambdas: dict[float, float] = dataclasses.field(default_factory=dict)
  images: int = 0

  def lambda_for(self, accuracy: float) -> float:
    """λ for an accuracy; ValueError names those that were calibrated."""
    if accuracy not in self.lambdas:
      known = ", ".join(f"{a:g}" for a in self.lambdas)
      raise ValueError(
        f"accuracy {accuracy:g} was not calibrated, only {known}: "
        "run im21k calibrate with --accuracy"
      )
    return self.lambdas[accuracy]

  def probabilities(
    self, logits: Float[np.ndarray, "n classes"]
  ) -> Float[np.ndarray, "n classes"]:
    """Calibrated probabilities of logits."""
    return softmax(logits, self.temperature)


def softmax(
  logits: Float[np.ndarray, "n classes"], temperature: float = 1.0
) -> Float[np.ndarray, "n classes"]:
  """Probabilities `[n, classes]` of logits divided by the temperature."""
  p = np.empty_like(logits)
  for start in range(0, len(logits), _ROWS):
    rows = slice(start, start + _ROWS)
    p[rows] = special.softmax(logits[rows] / np.float32(temperature), axis=1)
  return p


def save(arrays: Path, calibration: Calibration) -> None:
  """Writes `calibration.json` beside the file of arrays that it belongs to."""
  document = {
    "arrays_sha256": _sha256(arrays),
    "temperature": calibration.temperature,
    "lambdas": {str(a): lambda_ for a, lambda_ in calibration.lambdas.items()},
    "images": calibration.images,
  }
  files.write_text(arrays.parent / DOCUMENT, json.dumps(document, indent=1) + "\n")


def load(arrays: Path) -> Calibration | None:
  """The calibration beside a file of arrays; None if there is none.

  Args:
    arrays: `weights.safetensors` of a release folder.

  Raises:
    ValueError: it is damaged, or belongs to other weights.
  """
  path = arrays.parent / DOCUMENT
  if not path.is_file():
    return None
  try:
    document = json.loads(path.read_text(encoding="utf-8"))
    calibration = _checked(document)
    checksum = document["arrays_sha256"]
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f"{path} is damaged: {error!r}") from error
  if checksum != _sha256(arrays):
    raise ValueError(f"{path} belongs to other weights: run im21k calibrate again")
  return calibration


def _checked(document: Any) -> Calibration:
  # Files of version 0.1 say `trades`.
  lambdas = document["lambdas" if "lambdas" in document else "trades"]
  calibration = Calibration(
    float(document["temperature"]),
    {float(a): float(lambda_) for a, lambda_ in lambdas.items()},
    int(document["images"]),
  )
  values = [calibration.temperature, *calibration.lambdas.values()]
  if not np.isfinite(values).all() or calibration.temperature <= 0:
    raise ValueError("a value is not finite, or the temperature not above 0")
  return calibration


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()

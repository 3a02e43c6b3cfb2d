"""Logits -> calibrated probabilities; `calibration.json` beside the weights.

The file is bound to one file of weights by its checksum.
"""

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import special

from im21k import documents, files
from im21k.fields import Fields

DOCUMENT = "calibration.json"
FORMAT_VERSION = 2
TEMPERATURES = (1e-3, 1e3)  # `im21k calibrate` looks between 1/20 and 20.
_REMEDY = "run im21k calibrate again"
_LARGEST = 2**20  # Bytes; six accuracies have 400.
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,40})?(e-[0-9]{1,3})?")
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
      if not self.lambdas:
        raise ValueError(
          "the calibration has no λ of hedged answers, for lack of a hierarchy or of "
          "photos: run im21k calibrate again"
        )
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
    "format_version": FORMAT_VERSION,
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
    OSError: it cannot be read.
    ValueError: it is damaged, of a later version, or belongs to other weights; names
      the field.
  """
  path = arrays.parent / DOCUMENT
  if not os.path.lexists(path):
    return None
  fields = Fields(documents.read(path, _REMEDY, _LARGEST), path, _REMEDY)
  if "format_version" in fields:
    fields.version(FORMAT_VERSION, oldest=FORMAT_VERSION)
  # Version 1 states no version, and in its first days said `trades`.
  name = "trades" if "trades" in fields and "lambdas" not in fields else "lambdas"
  calibration = Calibration(
    fields.number("temperature", *TEMPERATURES),
    _lambdas(fields.object(name)),
    fields.integer("images", at_least=0),
  )
  checksum = fields.text("arrays_sha256")
  fields.done()
  if checksum != _sha256(arrays):
    raise ValueError(f"{path} belongs to other weights: {_REMEDY}")
  return calibration


def _lambdas(fields: Fields) -> dict[float, float]:
  """λ by accuracy, which never falls as accuracy grows: hedging more is safer."""
  found: dict[float, float] = {}
  for name in fields.document:
    accuracy = float(name) if _DECIMAL.fullmatch(name) else 0.0
    if not 0 < accuracy <= 1:
      raise fields.error(name, "is no accuracy above 0 and at most 1")
    if accuracy in found:
      raise fields.error(name, "is an accuracy that comes twice")
    found[accuracy] = fields.number(name, at_least=0)
  ordered = [found[accuracy] for accuracy in sorted(found)]
  if ordered != sorted(ordered):
    raise fields.error("", "must not fall as accuracy grows")
  return found


def _sha256(path: Path) -> str:
  with files.open_regular(path) as file:
    return hashlib.file_digest(file, "sha256").hexdigest()

"""Released weights: the folder that holds them, their model's input, their card."""

from im21k.weights.document import FORMAT_VERSION
from im21k.weights.input import Input, Photo, normalize
from im21k.weights.release import (
  ARRAYS,
  CARD,
  CLASSES,
  DOCUMENT,
  Weights,
  commit,
  find,
  load,
  step_of,
)

__all__ = [
  "ARRAYS",
  "CARD",
  "CLASSES",
  "DOCUMENT",
  "FORMAT_VERSION",
  "Input",
  "Photo",
  "Weights",
  "commit",
  "find",
  "load",
  "normalize",
  "step_of",
]

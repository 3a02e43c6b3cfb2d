"""im21k: an image classifier over all of ImageNet's 21,841 classes, on one machine."""

from typing import TYPE_CHECKING

from im21k import notices

if TYPE_CHECKING:
  from pathlib import Path

  from im21k.inference.classifier import Classifier

# Before anything imports JAX.
notices.silence()


def load(folder: "Path | str") -> "Classifier":
  """Loads released weights, ready to use.

  Args:
    folder: release folder that a training run or `im21k convert` wrote.

  Raises:
    FileNotFoundError: the folder holds no weights.
    ValueError: a file is damaged, or its arrays do not fit the model.
  """
  # Here, so that `import im21k.models` alone brings in jax and flax only.
  from im21k.inference import classifier

  return classifier.load(folder)

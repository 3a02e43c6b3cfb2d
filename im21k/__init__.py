"""im21k: an image classifier over all of ImageNet's 21,841 classes, on one machine."""

from typing import Any


def load(folder: Any) -> Any:
  """Released weights, ready to use: an `im21k.inference.classifier.Classifier`."""
  # Here, so that `import im21k.models` alone brings in jax and flax only.
  from im21k.inference import classifier

  return classifier.load(folder)

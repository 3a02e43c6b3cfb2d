"""Logits and labels -> the temperature of least loss, and how well confidences hold."""

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize, special

_BINS = 15
_ROWS = 64  # Of logits at a time, so that no float64 copy of all of them is made.


def cross_entropy(
  logits: Float[np.ndarray, "n classes"],
  labels: Int[np.ndarray, " n"],
  temperature: float = 1.0,
) -> float:
  """The mean −log probability of the right classes, in nats."""
  total = 0.0
  for start in range(0, len(logits), _ROWS):
    z = logits[start : start + _ROWS].astype(np.float64) / temperature
    own = z[np.arange(len(z)), labels[start : start + _ROWS]]
    total += float((special.logsumexp(z, axis=1) - own).sum())
  return total / len(labels)


def best_temperature(
  logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> float:
  """The temperature of least cross-entropy, between 1/20 and 20, to 0.1 %.

  The loss is convex in 1 / temperature, so it has one minimum over log temperature.
  """
  result = optimize.minimize_scalar(
    lambda at: cross_entropy(logits, labels, float(np.exp(at))),
    bounds=(-np.log(20), np.log(20)),
    method="bounded",
    options={"xatol": 5e-4},
  )
  return float(np.exp(result.x))


def reliability(
  p: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " bins"]]:
  """`share`, `confidence` and `accuracy` of the first answers, by bins of confidence.

  15 bins of equal width; those without photos are left out.
  """
  best = p.argmax(1)
  confidence = p[np.arange(len(p)), best].astype(np.float64)
  place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
  count = np.bincount(place, minlength=_BINS)
  sums = [np.bincount(place, x, _BINS) for x in (confidence, best == labels)]
  filled = count > 0
  return {
    "share": count[filled] / len(p),
    "confidence": sums[0][filled] / count[filled],
    "accuracy": sums[1][filled] / count[filled],
  }


def calibration_error(curve: dict[str, Float[np.ndarray, " bins"]]) -> float:
  """Expected calibration error of `reliability`: mean |confidence − accuracy|."""
  gap = np.abs(curve["confidence"] - curve["accuracy"])
  return float((gap * curve["share"]).sum())

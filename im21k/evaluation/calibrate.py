"""Probabilities that mean what they say: temperature, and how much to hedge."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from im21k import files, weights
from im21k.answers import hedge
from im21k.dataset.manifest import Manifest
from im21k.evaluation import hierarchical, score
from im21k.evaluation.evaluate import photos_for
from im21k.packing import outcomes
from im21k.synsets import hierarchy

DOCUMENT = "calibration.json"
ACCURACIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_BINS = 15


@dataclasses.dataclass(frozen=True)
class Calibration:
  """What was found on held-out photos; `calibration.json` beside the weights.

  Attributes:
    temperature: logits are divided by it before the softmax.
    trades: λ of `answers.hedged` by asked accuracy.
    images: how many photos it was found on.
  """

  temperature: float
  trades: dict[float, float]
  images: int

  def trade(self, accuracy: float) -> float:
    """λ for an accuracy; ValueError names those that there are."""
    if accuracy not in self.trades:
      known = ", ".join(f"{a:g}" for a in self.trades)
      raise ValueError(
        f"accuracy {accuracy:g} was not calibrated, only {known}: "
        "run im21k calibrate with --accuracy"
      )
    return self.trades[accuracy]


def calibrate(
  weights_dir: Path,
  data: Path,
  *,
  split: str = "eval",
  images: int = 5_000,
  batch_size: int = 64,
  accuracy: float | None = None,
  confidence: float | None = None,
  plot: Path | None = None,
) -> dict[str, Any]:
  """Finds the temperature, and how much to hedge, on held-out photos.

  The temperature has the least cross-entropy (Guo et al. 2017, "On Calibration of
  Modern Neural Networks"). All is stored beside the weights, for these weights alone.

  Args:
    weights_dir: folder that a run exported.
    data: folder that `im21k pack` wrote; of photos that it was not trained on.
    split: eval or train: of which photos.
    images: at most so many photos; 87 KB of memory each with 21,841 classes.
    batch_size: photos at a time.
    accuracy: one more to hedge for, beside 0.5, 0.7, 0.8, 0.9, 0.95 and 0.99.
    confidence: hedge so much more that the accuracy is reached on other photos, too,
      with this probability, 0.95 say; by default no more than these photos need.
    plot: draw the reliability curve into this PNG file.

  Returns:
    `weights`, `images`, `temperature`, `trades` by accuracy, `too_few`: accuracies that
    so few photos cannot vouch for, and `before` and `after`: cross-entropy `loss` and
    expected calibration error `error`.

  Raises:
    FileNotFoundError: weights or photos are missing.
    ValueError: they have different class lists, are damaged, or accuracy is none.
  """
  released = weights.load(weights_dir)
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  logits, labels = logits_of(released, data, split, images, batch_size)
  temperature = best_temperature(logits, labels)
  graph = hierarchy.over(released.classes)
  asked = sorted({*ACCURACIES, *([] if accuracy is None else [accuracy])})
  p = softmax(logits, temperature)
  trades = hedge.trades(graph, p, labels.tolist(), asked, confidence)
  save(weights_dir, Calibration(temperature, trades, len(labels)))
  curves = {"before": reliability(softmax(logits), labels)}
  curves["after"] = reliability(p, labels)
  told = {}
  for name, at in (("before", 1.0), ("after", temperature)):
    gap = np.abs(curves[name]["confidence"] - curves[name]["accuracy"])
    told[name] = {
      "loss": cross_entropy(logits, labels, at),
      "error": float((gap * curves[name]["share"]).sum()),
    }
  if plot:
    draw_reliability(plot, curves)
  return {
    "weights": str(weights_dir),
    "images": len(labels),
    "temperature": temperature,
    "trades": {f"{a:g}": trade for a, trade in trades.items()},
    "too_few": [accuracy for accuracy in asked if accuracy not in trades],
    **told,
    "plot": str(plot) if plot else None,
  }


def text(result: dict[str, Any]) -> str:
  """What `calibrate` found, for people."""
  lines = [f"temperature {result['temperature']:.3f} on {result['images']:,} photos"]
  for name in ("before", "after"):
    values = result[name]
    lines.append(
      f"{name:<7} loss {values['loss']:.4f}  calibration error {values['error']:.2%}"
    )
  trades = ", ".join(f"{a}: {trade:.3g}" for a, trade in result["trades"].items())
  lines.append(f"λ by accuracy: {trades}")
  if result["too_few"]:
    some = ", ".join(f"{accuracy:g}" for accuracy in result["too_few"])
    lines.append(f"too few photos to be so confident of accuracy {some}: take more")
  if result["plot"]:
    lines.append(f"picture: {result['plot']}")
  return "\n".join(lines)


def measured(
  folder: Path,
  released: weights.Weights,
  data: Path,
  split: str,
  batch_size: int,
  trained_on: Path | None = None,
) -> dict[str, Any]:
  """`hierarchical.measure` of the weights in a folder on up to 5,000 photos."""
  found = load(folder) or Calibration(1.0, {}, 0)
  logits, labels = logits_of(released, data, split, 5_000, batch_size)
  p = softmax(logits, found.temperature)
  graph = hierarchy.over(released.classes)
  if trained_on:
    Manifest.load(trained_on)  # Else a wrong folder would be one that tells nothing.
  counts = outcomes.train_photos(trained_on or data, released.classes.synsets)
  if trained_on and counts is None:
    raise ValueError(
      f"{trained_on / outcomes.REPORT} does not tell how many photos each class has: "
      "pack again with this im21k"
    )
  return hierarchical.measure(graph, p, labels.tolist(), found.trades, counts)


def logits_of(
  released: weights.Weights, data: Path, split: str, images: int, batch_size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
  """Logits `[n, classes]` and labels `[n]` of the first photos of a split."""
  logits = score.logits(released)
  loader = photos_for(released, data, split, batch_size, 1)
  found, labels, count = [], [], 0
  with tqdm(total=min(images, loader.count), unit=" photos", disable=None) as bar:
    for batch in loader:
      kept = np.asarray(batch["mask"][0]) > 0
      found.append(np.asarray(logits(batch["image"][0]))[kept])
      labels.append(np.asarray(batch["label"][0])[kept])
      count += int(kept.sum())
      bar.update(int(kept.sum()))
      if count >= images:
        break
  return np.concatenate(found)[:images], np.concatenate(labels)[:images].astype(int)


def softmax(logits: npt.NDArray[np.float32], temperature: float = 1.0) -> Any:
  """Probabilities `[n, classes]` of logits divided by the temperature."""
  p = logits / np.float32(temperature)
  p -= p.max(1, keepdims=True)
  np.exp(p, out=p)
  p /= p.sum(1, keepdims=True)
  return p


def cross_entropy(
  logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float
) -> float:
  """The mean −log probability of the right classes."""
  total = 0.0
  for row, label in zip(logits, labels, strict=True):
    z = row / np.float32(temperature)
    z -= z.max()
    total += float(np.log(np.exp(z).sum(dtype=np.float64))) - float(z[label])
  return total / len(labels)


def best_temperature(
  logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> float:
  """The temperature of least cross-entropy, between 1/20 and 20, to 0.1 %.

  The loss is convex in 1 / temperature, so a golden-section search finds it.
  """
  low, high = -np.log(20), np.log(20)
  golden = (np.sqrt(5) - 1) / 2

  def loss(at: float) -> float:
    return cross_entropy(logits, labels, float(np.exp(at)))

  a, b = high - golden * (high - low), low + golden * (high - low)
  at_a, at_b = loss(a), loss(b)
  while high - low > 1e-3:
    if at_a <= at_b:
      high, b, at_b = b, a, at_a
      a = high - golden * (high - low)
      at_a = loss(a)
    else:
      low, a, at_a = a, b, at_b
      b = low + golden * (high - low)
      at_b = loss(b)
  return float(np.exp((low + high) / 2))


def reliability(
  p: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.float64]]:
  """`share`, `confidence` and `accuracy` of the first answers, by bins of confidence.

  15 bins of equal width; those without photos are left out.
  """
  best = p.argmax(1)
  confidence = p[np.arange(len(p)), best].astype(np.float64)
  place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
  count = np.bincount(place, minlength=_BINS)
  sums = [np.bincount(place, x, _BINS) for x in (confidence, best == labels)]
  some = count > 0
  return {
    "share": count[some] / len(p),
    "confidence": sums[0][some] / count[some],
    "accuracy": sums[1][some] / count[some],
  }


def draw_reliability(path: Path, curves: dict[str, Any]) -> None:
  """Draws accuracy over confidence, before and after, into a PNG file."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 5), layout="constrained")
  axes = figure.subplots()
  axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
  for name, curve in curves.items():
    axes.plot(curve["confidence"], curve["accuracy"], marker="o", label=name)
  axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
  axes.legend()
  with files.whole(path) as aside:
    figure.savefig(aside, format="png", dpi=110)


def save(folder: Path, found: Calibration) -> None:
  """Writes `calibration.json`, bound to the weights by their checksum."""
  document = {
    "arrays_sha256": _checksum(folder),
    "temperature": found.temperature,
    "trades": {str(a): trade for a, trade in found.trades.items()},
    "images": found.images,
  }
  files.write_text(folder / DOCUMENT, json.dumps(document, indent=1) + "\n")


def load(folder: Path) -> Calibration | None:
  """The calibration of the weights in a folder; None if there is none.

  Raises:
    ValueError: it is damaged, or of other weights.
  """
  path = folder / DOCUMENT
  if not path.is_file():
    return None
  try:
    document = json.loads(path.read_text(encoding="utf-8"))
    found = Calibration(
      float(document["temperature"]),
      {float(a): float(trade) for a, trade in document["trades"].items()},
      int(document["images"]),
    )
    checksum = document["arrays_sha256"]
    values = [found.temperature, *found.trades.values()]
    if not np.isfinite(values).all() or found.temperature <= 0:
      raise ValueError("a value is not finite, or the temperature not above 0")
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f"{path} is damaged: {error!r}") from error
  if checksum != _checksum(folder):
    raise ValueError(f"{path} is of other weights: run im21k calibrate again")
  return found


def _checksum(folder: Path) -> str:
  with (folder / weights.ARRAYS).open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()

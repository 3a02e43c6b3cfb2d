"""`im21k calibrate`: weights and held-out photos -> `calibration.json`."""

from pathlib import Path
from typing import Any

from im21k import files, targets, weights, words
from im21k.answers import calibration, hedge
from im21k.evaluation import inputs, outputs, results, temperature
from im21k.synsets import hierarchy

ACCURACIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def calibrate(
  weights_dir: Path,
  data: Path,
  *,
  split: inputs.Split | None = None,
  labels: Path | None = None,
  images: int = 5_000,
  batch_size: int = 64,
  accuracy: float | None = None,
  confidence: float | None = None,
  plot: Path | None = None,
) -> dict[str, Any]:
  """Chooses the temperature of probabilities, and λ of hedged answers.

  The temperature has the least cross-entropy on held-out photos (Guo et al. 2017, "On
  Calibration of Modern Neural Networks"); λ is the smallest that reaches each accuracy
  on them (Deng et al. 2012, "Hedging your bets"). Both are stored beside the weights,
  and are valid for these weights alone. Classes without a hierarchy get no λ.

  Args:
    weights_dir: Release folder of the weights.
    data: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars or
      of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS, or
      tfds:NAME:SPLIT.
    split: Split of packed photos to use; by default eval, and train to recalibrate, or
      the only one that there is.
    labels: Text file with the synset id of photo n in line n, for numbered photos in
      one folder or tar; by default that of ILSVRC2012's validation photos.
    images: Use at most this many photos; each takes 87 KB of memory with 21,841
      classes.
    batch_size: Photos at a time.
    accuracy: Also hedge for this accuracy, beside 0.5, 0.7, 0.8, 0.9, 0.95 and 0.99.
    confidence: Hedge so much more that the accuracy is reached on other photos, too,
      with this probability, such as 0.95; by default no more than these photos need.
    plot: Draw the reliability curve into this PNG file.

  Returns:
    `weights`, `images`, `temperature`, `lambdas` by accuracy, `too_few`: accuracies for
    which there are too few photos, `before` and `after`: cross-entropy `loss` and
    expected calibration error `error`, `plot`, and the photos that were left out:
    `unknown` by synset, `bad` with the reason. `counts`: how many `photos` were read,
    and of these how many were `used`, of `unknown` classes, and `bad`.

  Raises:
    FileNotFoundError: weights, photos or labels are missing.
    ValueError: they are damaged, a part of an archive could not be read, no photo can
      be used, or an option is out of range.
  """
  _check(accuracy, confidence)
  split = inputs.split_for(data, split, "eval")
  weights_dir = weights.find(weights_dir)
  targets.check([data, weights_dir], plot=plot)
  released = weights.load(weights_dir)
  hierarchical = hierarchy.has(released.classes)
  if not hierarchical and (accuracy is not None or confidence is not None):
    hierarchy.over(released.classes)  # Raises, saying what to do.
  photos = inputs.open_shuffled(data, split, labels, released.classes)
  computed = outputs.compute(released, photos, most=images, batch_size=batch_size)
  results.refuse_damage(computed.bad)
  logits, right = computed.logits, computed.labels
  best = temperature.best_temperature(logits, right)
  p = calibration.softmax(logits, best)
  asked = sorted({*ACCURACIES, *([] if accuracy is None else [accuracy])})
  lambdas: dict[float, float] = {}
  if hierarchical:
    graph = hierarchy.over(released.classes)
    lambdas = hedge.lambdas(graph, p, right, asked, confidence)
  calibration.save(
    weights_dir / weights.ARRAYS, calibration.Calibration(best, lambdas, len(right))
  )
  curves = {"after": temperature.reliability(p, right)}
  del p
  curves["before"] = temperature.reliability(calibration.softmax(logits), right)
  if plot:
    _draw_reliability(plot, curves)
  return {
    "weights": str(weights_dir),
    "images": len(right),
    "temperature": best,
    "lambdas": {f"{a:g}": lambda_ for a, lambda_ in lambdas.items()},
    "too_few": [a for a in asked if hierarchical and a not in lambdas],
    **{
      name: {
        "loss": temperature.cross_entropy(logits, right, at),
        "error": temperature.calibration_error(curves[name]),
      }
      for name, at in (("before", 1.0), ("after", best))
    },
    "plot": str(plot) if plot else None,
    "unknown": computed.unknown,
    "bad": results.as_rows(computed.bad),
    "counts": computed.counts(),
  }


def text(result: dict[str, Any]) -> str:
  """The result of `calibrate` for people."""
  photos = words.counted(result["images"], "photo")
  lines = [f"temperature {result['temperature']:.3f} on {photos}"]
  for name in ("before", "after"):
    values = result[name]
    lines.append(
      f"{name:<7} loss {values['loss']:.4f}  calibration error {values['error']:.2%}"
    )
  lambdas = ", ".join(f"{a}: {value:.3g}" for a, value in result["lambdas"].items())
  none = "none, for the classes have no hierarchy: only flat answers are calibrated"
  lines.append(f"λ by accuracy: {lambdas or none}")
  if result["too_few"]:
    asked = ", ".join(f"{accuracy:g}" for accuracy in result["too_few"])
    lines.append(f"too few photos to be so confident of accuracy {asked}: take more")
  lines.append(results.counts_line(result["counts"]))
  lines += results.lines_about(result["unknown"], result["bad"], "left out")
  if result["plot"]:
    lines.append(f"picture: {result['plot']}")
  return "\n".join(lines)


def _check(accuracy: float | None, confidence: float | None) -> None:
  """ValueError if a number is out of range, before all photos are read for it."""
  if accuracy is not None and not 0 < accuracy <= 1:
    raise ValueError(f"accuracy is {accuracy}, but must be above 0 and at most 1")
  if confidence is not None and not 0 < confidence < 1:
    raise ValueError(f"confidence is {confidence}, but must be between 0 and 1")


def _draw_reliability(path: Path, curves: dict[str, Any]) -> None:
  """Draws accuracy over confidence, before and after, into a PNG file."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 5), layout="constrained")
  axes = figure.subplots()
  axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
  for name in ("before", "after"):
    curve = curves[name]
    axes.plot(curve["confidence"], curve["accuracy"], marker="o", label=name)
  axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
  axes.legend()
  with files.whole(path) as aside:
    figure.savefig(aside, format="png", dpi=110)

"""`im21k evaluate`: released weights and photos -> exact accuracy, in a CSV file."""

import datetime
from pathlib import Path
from typing import Any

from im21k import documents, files, original, parallel, synsets, targets, weights
from im21k.answers import calibration
from im21k.dataset.manifest import Manifest
from im21k.evaluation import hierarchical as hierarchical_measures
from im21k.evaluation import inputs, outputs, results, score
from im21k.evaluation.accuracy import TOP_K, Scores
from im21k.hosts import agreement, session
from im21k.hosts.commands import over_hosts
from im21k.packing import outcomes
from im21k.synsets import hierarchy

_MOST_HIERARCHICAL = 5_000


@over_hosts
def evaluate(
  weights_dir: Path,
  data: Path,
  *,
  split: inputs.Split | None = None,
  labels: Path | None = None,
  crop_fraction: float | None = None,
  flip: bool = False,
  batch_size: int = 64,
  devices: int | None = None,
  csv_file: Path | None = None,
  class_csv: Path | None = None,
  hierarchical: bool = False,
  trained_on: Path | None = None,
) -> dict[str, Any]:
  """Measures top-1, top-5 and top-20 accuracy of weights on photos.

  Every photo counts exactly once, except those that cannot be decoded, which are
  listed. Photos of classes that the weights do not know count as wrong. A second row
  restricts the answers to classes of ILSVRC2012 and takes photos of its 1,000 classes
  only.

  Started by im21k launch, or with its environment on several machines, hosts share the
  photos, and the first shows and writes the result.

  Args:
    weights_dir: Release folder of the weights.
    data: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars or
      of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS, or
      tfds:NAME:SPLIT.
    split: Split of packed photos to use; by default eval, and train to recalibrate, or
      the only one that there is.
    labels: Text file with the synset id of photo n in line n, for numbered photos in
      one folder or tar; by default that of ILSVRC2012's validation photos.
    crop_fraction: Side of the centre crop over the photo's short side; by default as
      the weights were trained (224/256 for the original).
    flip: Average the logits with those of the mirror image.
    batch_size: Photos at a time, over all devices.
    devices: Number of devices; by default all GPUs, or one CPU device.
    csv_file: Append the rows to this CSV file; by default evaluation.csv beside the
      weights.
    class_csv: Write top-1, top-5 and top-20 of every class to this new CSV file.
    hierarchical: Also measure accuracy at each depth of the hierarchy, how far wrong
      answers are from the truth, answers at fixed levels, hedged answers where im21k
      calibrate has been run, and accuracy by the number of training photos of a class.
      At most 5000 photos are used.
    trained_on: Packed photos that the weights were trained on, for hierarchical
      measures; by default data.

  Returns:
    `rows`: one for each set of answers, as in the CSV, with 95 % intervals (Wilson);
    `counts`: how many `photos` there were, and of these how many were `scored`, of
    `unknown` classes, and `bad`; `unknown`: photos of classes that the weights lack, by
    synset; `bad`: photos that cannot be decoded or have no class, with the reason;
    `failed`, if a part of an archive could not be read; `original`: its numbers for
    each row, if these are ILSVRC2012's 50,000 validation photos and the weights know
    the 21,841 classes; `hierarchy`, if hierarchical: see `hierarchical.measure`.

  Raises:
    FileNotFoundError: weights, photos or labels are missing.
    ValueError: they are damaged, labels are no synset ids, no photo can be decoded,
      batch_size is not divisible by the devices, or trained_on lacks a report.
  """
  if trained_on and not hierarchical:
    raise ValueError("trained_on is for hierarchical measures only: add --hierarchical")
  split = inputs.split_for(data, split, "eval")
  targets.check([data], csv_file=csv_file, class_csv=class_csv)
  weights_dir = weights.find(weights_dir)
  targets.check([weights_dir], class_csv=class_csv)
  on = inputs.devices_for(devices)
  released = weights.load(weights_dir)
  results.read_rows(csv_file or weights_dir / results.CSV)  # An error now, not later.
  if watch := session.current():
    agreement.check_code(watch)
    asked: dict[str, Any] = {"split": split, "crop_fraction": crop_fraction}
    asked |= {"flip": flip, "batch_size": batch_size, "devices": len(on)}
    of_weights = documents.read(weights_dir / weights.DOCUMENT)
    asked |= {"weights": of_weights["arrays_sha256"]}
    agreement.check(watch, "evaluation", asked)
  shuffled = None
  if hierarchical:  # An error of the order too.
    hierarchy.over(released.classes)
    shuffled = inputs.open_shuffled(data, split, labels, released.classes)
  scorer = score.for_weights(
    released,
    inputs.open_photos(data, split, labels, released.classes),
    devices=on,
    batch_size=batch_size,
    crop_fraction=crop_fraction,
    flip=flip,
  )
  try:
    scores = scorer(released.variables)
  except ValueError as error:
    raise ValueError(f"{data}: {error}") from error
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  about: dict[str, Any] = {"date": now}
  about |= {"weights": results.cell(weights_dir), "data": results.cell(data)}
  if (step := weights.step_of(weights_dir)) is not None:
    about["step"] = step  # The weights of a run that goes on are replaced.
  about |= {"split": split or "", "crop_fraction": crop_fraction, "flip": flip}
  rows = [{**about, **row} for row in scores.rows()]
  leads = parallel.host() == 0
  if leads:
    results.add_rows(csv_file or weights_dir / results.CSV, rows)
  if class_csv and leads:
    files.write_text(class_csv, results.as_csv(scores.class_rows()))
  result = {
    "rows": rows,
    "counts": scores.counts(),
    "unknown": scores.unknown,
    "bad": results.as_rows(scores.bad),
    "original": _original(released.classes, scores, rows),
    **results.failed(scores.bad),
  }
  if shuffled and leads:  # Few photos: one host has them done soon.
    with parallel.alone():
      computed = outputs.compute(
        released, shuffled, most=_MOST_HIERARCHICAL, batch_size=batch_size
      )
    counts = _train_photos(data, trained_on, released.classes.synsets)
    result["hierarchy"] = _measures(weights_dir, released.classes, computed, counts)
  return result


def table(result: dict[str, Any]) -> str:
  """The result of `evaluate` for people."""
  heads = "".join(f"{f'top-{k}':>12}" for k in TOP_K)
  lines = [f"{'answers among':<24}{'photos':>9}{heads}"]
  for row in result["rows"]:
    numbers = "".join(f"{row[f'top_{k}']:>12.2%}" for k in TOP_K)
    lines.append(f"{row['answers']:<24}{row['images']:>9,}{numbers}")
    bounds = [(row[f"top_{k}_low"] * 100, row[f"top_{k}_high"] * 100) for k in TOP_K]
    numbers = "".join(f"{f'{low:.1f}–{high:.1f}':>12}" for low, high in bounds)
    lines.append(f"{'  95 % interval':<33}{numbers}")
    if published := result["original"].get(row["answers"]):
      numbers = "".join(f"{f'{number:.1f} %':>12}" for number in published)
      lines.append(f"{'  the original, 2015':<33}{numbers}")
  lines.append(results.counts_line(result["counts"]))
  lines += results.lines_about(result["unknown"], result["bad"], "counted as wrong")
  if "hierarchy" in result:
    lines += ["", hierarchical_measures.text(result["hierarchy"])]
  return "\n".join(lines)


def _measures(
  weights_dir: Path,
  classes: synsets.ClassList,
  computed: outputs.Outputs,
  train_photos: Any,
) -> dict[str, Any]:
  """`hierarchical.measure` of calibrated probabilities."""
  arrays = weights_dir / weights.ARRAYS
  calibrated = calibration.load(arrays) or calibration.Calibration()
  return hierarchical_measures.measure(
    hierarchy.over(classes),
    calibrated.probabilities(computed.logits),
    computed.labels,
    calibrated.lambdas,
    train_photos,
  )


def _train_photos(data: Path, trained_on: Path | None, ids: tuple[str, ...]) -> Any:
  """`[classes]`, training photos of each class; None: `data` has no such report."""
  if trained_on:
    Manifest.load(trained_on)  # Else a wrong folder would pass as one without report.
  counts = outcomes.train_photos(trained_on or data, ids)
  if trained_on and counts is None:
    raise ValueError(
      f"{trained_on / outcomes.REPORT} lacks the number of photos of each class: "
      "pack again with this im21k"
    )
  return counts


def _original(
  classes: synsets.ClassList, scores: Scores, rows: list[dict[str, Any]]
) -> dict[str, tuple[float, ...]]:
  known = set(classes.synsets) == set(synsets.imagenet21k().synsets)
  if not (known and scores.is_validation):
    return {}
  over = original.VALIDATION_TOP_K.values()
  return {row["answers"]: numbers for row, numbers in zip(rows, over, strict=True)}

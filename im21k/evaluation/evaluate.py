"""Exact accuracy of released weights over photos, wherever they lie."""

import contextlib
import csv
import dataclasses
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from im21k import files, parallel, synsets, weights
from im21k.evaluation import hierarchical
from im21k.evaluation import score as scorer
from im21k.evaluation.accuracy import TOP_K, Scores
from im21k.loading.train import EvalLoader

CSV = "evaluation.csv"
# Percent of ILSVRC2012's validation photos, as published in 2015.
ORIGINAL = {"all": (41.9, 69.6, 83.6), "ilsvrc2012": (68.3, 89.0, 96.0)}


def evaluate(
  weights_dir: Path,
  data: Path,
  *,
  split: str = "eval",
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
  """Measures top-1, top-5 and top-20 of weights on photos.

  Every photo counts exactly once, save those that cannot be decoded, which are listed.
  Photos of classes that the weights do not know count as wrong. A second row restricts
  the answers to classes of ILSVRC2012 and takes photos of its 1,000 classes only.

  Args:
    weights_dir: folder that a run exported.
    data: folder that `im21k pack` wrote; folder of ILSVRC2012_val_*.JPEG; folder of
      synset folders; or tfds:NAME:SPLIT, as TFDS prepared it (file_format array_record,
      folder in TFDS_DATA_DIR), tfds:imagenet2012:validation say.
    split: eval or train, of packed photos.
    labels: for ILSVRC2012_val_*.JPEG, a file with a synset id for each photo, in the
      order of their numbers; by default the one in tensorflow-datasets.
    crop_fraction: side of the centre crop over the photo's short side; by default as
      the weights were trained (224/256 for the original).
    flip: whether to average logits with those of the mirror image.
    batch_size: photos at a time, over all devices.
    devices: how many to use; by default all GPUs, or one CPU device.
    csv_file: rows are added to it; by default evaluation.csv beside the weights.
    class_csv: file for top-1, top-5 and top-20 of every class, written anew.
    hierarchical: also measure accuracy at each depth of the hierarchy, how far off
      mistakes are, answers at fixed levels, and hedged ones where im21k calibrate has
      been run; by the number of training photos of a class, too; on packed photos, 5000
      at most.
    trained_on: with hierarchical, packed photos that the weights were trained on; by
      default data.

  Returns:
    `rows`: one for each set of answers, as in the CSV, with 95 % intervals (Wilson);
    `unknown`: photos of classes that the weights lack, by synset; `bad`: photos that
    cannot be decoded, with the reason; `original`: its numbers for each row, if these
    are ILSVRC2012's 50,000 validation photos and the weights know the 21,841 classes;
    `hierarchy`, if asked for: see `hierarchical.measure`.

  Raises:
    FileNotFoundError: weights, photos or labels are missing.
    ValueError: they are damaged, labels are no synset ids, no photo can be decoded,
      batch_size does not suit the devices, or trained_on does not tell of its photos.
  """
  if trained_on and not hierarchical:
    raise ValueError("trained_on says more about hierarchical measures: ask for these")
  on = devices_for(devices)
  released = weights.load(weights_dir)
  scores = score(
    released, data, split, batch_size, on, labels, crop_fraction, flip
  )  # fmt: skip
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  about: dict[str, Any] = {"date": now, "weights": str(weights_dir), "data": str(data)}
  about |= {"split": split, "crop_fraction": crop_fraction, "flip": flip}
  rows = [{**about, **row} for row in scores.rows()]
  _add_rows(csv_file or weights_dir / CSV, rows)
  if class_csv:
    files.write_text(class_csv, _as_csv(scores.class_rows()))
  result = {
    "rows": rows,
    "unknown": scores.unknown,
    "bad": [{"photo": key, "reason": reason} for key, reason in scores.bad.items()],
    "original": _original(released.classes, scores, rows),
  }
  if hierarchical:
    from im21k.evaluation import calibrate  # It uses this module.

    result["hierarchy"] = calibrate.measured(
      weights_dir, released, data, split, batch_size, trained_on
    )
  return result


def table(result: dict[str, Any]) -> str:
  """What `evaluate` found, for people."""
  heads = "".join(f"{f'top-{k}':>12}" for k in TOP_K)
  lines = [f"{'answers among':<24}{'photos':>9}{heads}"]
  for row in result["rows"]:
    numbers = "".join(f"{row[f'top_{k}']:>12.2%}" for k in TOP_K)
    lines.append(f"{row['answers']:<24}{row['images']:>9,}{numbers}")
    bounds = [(row[f"top_{k}_low"] * 100, row[f"top_{k}_high"] * 100) for k in TOP_K]
    numbers = "".join(f"{f'{low:.1f}–{high:.1f}':>12}" for low, high in bounds)
    lines.append(f"{'  95 % interval':<33}{numbers}")
    if original := result["original"].get(row["answers"]):
      numbers = "".join(f"{f'{number:.1f} %':>12}" for number in original)
      lines.append(f"{'  the original, 2015':<33}{numbers}")
  if unknown := result["unknown"]:
    names = synsets.ClassList("unknown", tuple(unknown)).names
    shown = [
      f"{s} {name} ({unknown[s]:,})" for s, name in zip(unknown, names, strict=True)
    ]
    lines.append(
      f"{sum(unknown.values()):,} photos of classes that the weights do not know count "
      f"as wrong: {_some(shown)}"
    )
  if bad := result["bad"]:
    shown = [f"{one['photo']} ({one['reason']})" for one in bad]
    lines.append(
      f"{len(bad):,} photos cannot be decoded and are left out: {_some(shown)}"
    )
  if "hierarchy" in result:
    lines += ["", hierarchical.text(result["hierarchy"])]
  return "\n".join(lines)


def score(
  released: weights.Weights,
  data: Path,
  split: str,
  batch_size: int,
  on: Sequence[jax.Device],
  labels: Path | None = None,
  crop_fraction: float | None = None,
  flip: bool = False,
) -> Scores:
  """Scores of weights on photos; see `evaluate` for arguments and errors."""
  prepared = released.input
  if crop_fraction is not None:
    if not 0 < crop_fraction <= 1:
      raise ValueError(f"crop_fraction is {crop_fraction}, but must be in (0, 1]")
    short_side = round(prepared.size / crop_fraction)
    prepared = dataclasses.replace(prepared, short_side=short_side)
  run = scorer.Scorer(
    scorer.Mirrored(released.model) if flip else released.model,
    prepared,
    released.classes,
    scorer.open_photos(data, split, labels),
    devices=on,
    batch_size=batch_size,
    subsets={f"all {len(released.classes):,}": None, **_ilsvrc(released.classes)},
  )
  try:
    return run(released.variables)
  except ValueError as error:
    raise ValueError(f"{data}: {error}") from error


def photos_for(
  released: weights.Weights, data: Path, split: str, batch_size: int, devices: int
) -> EvalLoader:
  """A split of packed photos, as these weights take them; checks the classes."""
  return EvalLoader(
    data,
    split,
    batch_size=batch_size,
    devices=devices,
    image_size=released.input.size,
    short_side=released.input.short_side,
    classes=released.classes,
  )


def devices_for(count: int | None) -> list[jax.Device]:
  """So many devices; None: all GPUs, or one CPU device."""
  if count is None:
    return parallel.devices(parallel.available())
  if count < 1:
    raise ValueError(f"devices is {count}, but must be at least 1")
  # Where JAX runs already, it has the devices that it has.
  with contextlib.suppress(RuntimeError):
    parallel.set_up(count)
  return parallel.devices(count)


def _ilsvrc(classes: synsets.ClassList) -> dict[str, Any]:
  indices, _ = synsets.subset_indices(synsets.ilsvrc2012(), classes)
  if not len(indices):
    return {}
  allowed = np.zeros(len(classes), bool)
  allowed[indices] = True
  return {f"{len(indices):,} of ilsvrc2012": allowed}


def _original(
  classes: synsets.ClassList, scores: Scores, rows: list[dict[str, Any]]
) -> dict[str, tuple[float, ...]]:
  known = set(classes.synsets) == set(synsets.imagenet21k().synsets)
  if not (known and scores.is_validation):
    return {}
  over = (ORIGINAL["all"], ORIGINAL["ilsvrc2012"])
  return {row["answers"]: numbers for row, numbers in zip(rows, over, strict=True)}


def rows_before(path: Path) -> list[dict[str, Any]]:
  """The rows of an evaluation file, oldest first; none where there is no file."""
  before = path.read_text(encoding="utf-8") if path.exists() else ""
  return list(csv.DictReader(io.StringIO(before)))


def _add_rows(path: Path, rows: list[dict[str, Any]]) -> None:
  """Older files may have fewer columns; theirs keep their values."""
  files.write_text(path, _as_csv([*rows_before(path), *rows]))


def _as_csv(rows: list[dict[str, Any]]) -> str:
  columns = list(dict.fromkeys(name for row in reversed(rows) for name in row))
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def _some(shown: list[str]) -> str:
  return "; ".join(shown[:5]) + ("; …" if len(shown) > 5 else "")

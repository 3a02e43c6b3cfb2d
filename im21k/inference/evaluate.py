"""Exact accuracy of released weights over packed photos."""

import contextlib
import csv
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from im21k import files, synsets, weights
from im21k.data import EvalLoader
from im21k.inference import measures
from im21k.training import loop, parallel, step

_COLUMNS = (
  "date",
  "weights",
  "data",
  "split",
  "answers",
  "images",
  "top_1",
  "top_5",
  "top_20",
  "loss",
)


def evaluate(
  weights_dir: Path,
  data: Path,
  *,
  split: str = "eval",
  batch_size: int = 64,
  devices: int | None = None,
  csv_file: Path | None = None,
  hierarchical: bool = False,
) -> dict[str, Any]:
  """Measures top-1, top-5 and top-20 of weights on packed photos.

  Every photo counts exactly once. Where the weights know classes of ILSVRC2012, a
  second row restricts to them: photos of these classes, answers among them.

  Args:
    weights_dir: folder that a run exported.
    data: folder that `im21k pack` wrote.
    split: eval or train.
    batch_size: photos at a time, over all devices.
    devices: how many to use; by default all GPUs, or one CPU device.
    csv_file: rows are added to it; by default evaluation.csv beside the weights.
    hierarchical: also measure accuracy at each depth of the hierarchy, how far off
      mistakes are, and hedged answers where im21k calibrate has been run; on up to
      5,000 photos.

  Returns:
    `rows`: one for each set of answers, as in the CSV; `hierarchy`, if asked for: see
    `measures.measure`.

  Raises:
    FileNotFoundError: weights or photos are missing.
    ValueError: they have different class lists, are damaged, or batch_size does not
      suit the devices.
  """
  on = devices_for(devices)
  released = weights.load(weights_dir)
  scores = score(released, data, split, batch_size, on)
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  rows = [
    {
      "date": now,
      "weights": str(weights_dir),
      "data": str(data),
      "split": split,
      "answers": subset,
      "images": int(sums.pop("count")),
      **sums,
    }
    for subset, sums in scores.items()
  ]
  _add_rows(csv_file or weights_dir / "evaluation.csv", rows)
  if not hierarchical:
    return {"rows": rows}
  from im21k.inference import calibrate  # It uses this module.

  found = calibrate.measured(weights_dir, released, data, split, batch_size)
  return {"rows": rows, "hierarchy": found}


def table(result: dict[str, Any]) -> str:
  """The rows of `evaluate` for people."""
  lines = [f"{'answers among':<24}{'photos':>9}{'top-1':>9}{'top-5':>9}{'top-20':>9}"]
  for row in result["rows"]:
    numbers = "".join(f"{row[f'top_{k}']:>9.2%}" for k in step.TOP_K)
    lines.append(f"{row['answers']:<24}{row['images']:>9,}{numbers}")
  if "hierarchy" in result:
    lines += ["", measures.text(result["hierarchy"])]
  return "\n".join(lines)


def score(
  released: weights.Weights,
  data: Path,
  split: str,
  batch_size: int,
  on: Sequence[jax.Device],
) -> dict[str, dict[str, float]]:
  """`count`, `loss`, `top_1`, `top_5` and `top_20` for each set of answers."""
  loader = photos_for(released, data, split, batch_size, len(on))
  subsets = {f"all {len(released.classes):,}": None, **_ilsvrc(released.classes)}
  run = parallel.eval_step(
    step.eval_step(released.model, released.input.mean, released.input.std, subsets), on
  )
  scores = loop.evaluate(run, released.variables, loader)
  # JAX sorts the keys of what it returns.
  return {subset: scores[subset] for subset in subsets if subset in scores}


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
  known = synsets.ilsvrc2012()
  if classes.hash == known.hash:
    return {}
  indices, _ = synsets.subset_indices(known, classes)
  allowed = np.zeros(len(classes), bool)
  allowed[indices] = True
  return {f"{len(indices):,} of ilsvrc2012": allowed}


def _add_rows(path: Path, rows: list[dict[str, Any]]) -> None:
  text = io.StringIO(path.read_text(encoding="utf-8") if path.exists() else "")
  empty = not text.seek(0, io.SEEK_END)
  writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
  if empty:
    writer.writeheader()
  writer.writerows(rows)
  files.write_text(path, text.getvalue())

"""BatchNorm's statistics of released weights, taken again over many photos.

With the original's momentum of 0.1 the published moving statistics are almost those of
one batch of 16.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from im21k import parallel, weights
from im21k.evaluation.accuracy import TOP_K
from im21k.evaluation.evaluate import devices_for, photos_for, score


def recalibrate(
  weights_dir: Path,
  data: Path,
  out: Path,
  *,
  images: int = 10_000,
  split: str = "train",
  batch_size: int = 256,
  devices: int | None = None,
) -> dict[str, Any]:
  """Takes BatchNorm's statistics anew over many photos, and tells what it brings.

  Mean and variance of each channel are those of all photos together: pooled from the
  batches exactly, with no moving average. Each device normalises by its own batch, as
  in training (Wu & Johnson 2021, "Rethinking Batch in BatchNorm", section 3: precise
  BN).

  Args:
    weights_dir: folder that a run exported.
    data: folder that `im21k pack` wrote.
    out: folder for the new weights.
    images: how many photos, less what makes no whole batch.
    split: eval or train: of which photos.
    batch_size: photos at a time, over all devices.
    devices: how many to use; by default all GPUs, or one CPU device.

  Returns:
    `weights`, `images` used, and `rows`: top-1, top-5 and top-20 before and after, on
    the held-out photos if there are any, else on those that were used.

  Raises:
    FileNotFoundError: weights or photos are missing.
    ValueError: they have different class lists, are damaged, or make no whole batch.
  """
  on = devices_for(devices)
  released = weights.load(weights_dir)
  loader = photos_for(released, data, split, batch_size, len(on))
  wanted = min(images, loader.count) // batch_size
  if not wanted:
    raise ValueError(
      f"{min(images, loader.count)} photos make no whole batch of {batch_size}"
    )
  measure = parallel.eval_step(_measure(released), on)
  sums: Any = None
  with tqdm(total=wanted, desc="recalibrate", unit=" batches", disable=None) as bar:
    for _, batch in zip(range(wanted), loader, strict=False):
      found = jax.device_get(measure(released.variables, batch))
      found = jax.tree.map(np.float64, found)
      sums = found if sums is None else jax.tree.map(np.add, sums, found)
      bar.update()
  variables = {**released.variables, "batch_stats": _pooled(sums, wanted)}
  after = dataclasses.replace(released, variables=variables, scores={})
  after.save(out)
  held_out = "eval" if "eval" in loader.manifest.splits else split
  rows = []
  for name, one in (("before", released), ("after", after)):
    scores = score(one, data, held_out, batch_size, on)
    rows += [{"statistics": name, "split": held_out, **row} for row in scores.rows()]
  return {"weights": str(out), "images": wanted * batch_size, "rows": rows}


def text(result: dict[str, Any]) -> str:
  """What `recalibrate` found, for people."""
  lines = [f"statistics of {result['images']:,} photos: {result['weights']}", ""]
  lines.append(f"{'':<10}{'answers among':<24}{'top-1':>9}{'top-5':>9}{'top-20':>9}")
  for row in result["rows"]:
    numbers = "".join(f"{row[f'top_{k}']:>9.2%}" for k in TOP_K)
    lines.append(f"{row['statistics']:<10}{row['answers']:<24}{numbers}")
  return "\n".join(lines)


def _measure(released: weights.Weights) -> Any:
  """Means of each batch, and of its squares, averaged over devices."""
  model = released.model.clone(bn_momentum=0.0)  # statistics are the last batch's
  prepared = released.input

  def measure(variables: Any, batch: dict) -> Any:
    image = weights.normalize(batch["image"], prepared.mean, prepared.std)
    _, updates = model.apply(variables, image, train=True, mutable=["batch_stats"])
    return parallel.mean(_by_layer(updates["batch_stats"], _square))

  return measure


def _by_layer(stats: Any, function: Any) -> Any:
  """Applies a function to every `{"mean", "var"}` of a tree."""
  is_layer = lambda node: isinstance(node, dict) and "mean" in node  # noqa: E731
  return jax.tree.map(function, stats, is_leaf=is_layer)


def _square(layer: dict) -> dict:
  return {"mean": layer["mean"], "var": layer["var"] + layer["mean"] ** 2}


def _pooled(sums: Any, count: int) -> Any:
  def pool(layer: dict) -> dict:
    mean, square = layer["mean"] / count, layer["var"] / count
    return {"mean": np.float32(mean), "var": np.float32(square - mean**2)}

  return _by_layer(sums, pool)

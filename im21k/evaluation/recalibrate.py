"""`im21k recalibrate`: weights and photos -> weights with new BatchNorm statistics.

With the original's momentum of 0.1 the published moving statistics are almost those of
one batch of 16.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from im21k import parallel, targets, weights, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs, results, score
from im21k.evaluation.accuracy import TOP_K
from im21k.loading import scoring


def recalibrate(
  weights_dir: Path,
  data: Path,
  out: Path,
  *,
  images: int = 10_000,
  split: inputs.Split | None = None,
  labels: Path | None = None,
  batch_size: int = 256,
  devices: int | None = None,
) -> dict[str, Any]:
  """Re-estimates BatchNorm statistics, and reports accuracy before and after.

  Mean and variance of each channel are those of all photos together: pooled from the
  batches exactly, with no moving average. Each device normalises by its own batch, as
  in training (Wu & Johnson 2021, "Rethinking Batch in BatchNorm", section 3: precise
  BN).

  Args:
    weights_dir: Release folder of the weights.
    data: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars or
      of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS, or
      tfds:NAME:SPLIT.
    out: Folder for the new weights.
    images: Number of photos, rounded down to whole batches.
    split: Split of packed photos to use; by default eval, and train to recalibrate, or
      the only one that there is.
    labels: Text file with the synset id of photo n in line n, for numbered photos in
      one folder or tar; by default that of ILSVRC2012's validation photos.
    batch_size: Photos at a time, over all devices.
    devices: Number of devices; by default all GPUs, or one CPU device.

  Returns:
    `weights`, `images` used, `bad`: photos that take no part, with the reason, and
    `rows`: top-1, top-5 and top-20 before and after, on the held-out photos if there
    are any, else on those that were used. `counts`: how many `photos` were read, and of
    these how many were `used`, `bad`, and `left` over by whole batches.

  Raises:
    FileNotFoundError: weights, photos or labels are missing.
    ValueError: they are damaged, a part of an archive could not be read, they make no
      whole batch, or out is weights_dir.
  """
  on = inputs.devices_for(devices)
  weights_dir = weights.find(weights_dir)
  if out.resolve() == weights_dir.resolve():
    raise ValueError(f"{out} holds the weights that are read: take another OUT")
  targets.check_folder([data], out=out)
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  split = inputs.split_for(data, split, "train")
  released = weights.load(weights_dir)
  photos = inputs.open_shuffled(data, split, labels, released.classes)
  loader = scoring.ScoreLoader(
    photos,
    released.classes,
    batch_size=batch_size,
    devices=len(on),
    image_size=released.input.size,
    short_side=released.input.short_side,
  )
  inputs.check_batch(batch_size, released.input.size)
  wanted = min(images, images if photos.count is None else photos.count)
  bad: list[results.Bad] = []
  read: Counter[str] = Counter()
  stats, count = _statistics(released, loader, wanted // batch_size, on, bad, read)
  results.refuse_damage(bad)
  if not count:
    raise ValueError(
      f"{words.counted(wanted - len(bad), 'photo')} make no whole batch of {batch_size}"
      + (f"; {len(bad):,} cannot be used{results.first_of(bad)}" if bad else "")
    )
  variables = {**released.variables, "batch_stats": stats}
  after = dataclasses.replace(released, variables=variables, scores={})
  after.save(out)
  held_out = _held_out(data, split)
  scorer = score.for_weights(
    released,
    inputs.open_photos(data, held_out, labels, released.classes),
    devices=on,
    batch_size=batch_size,
  )
  rows = [
    {"statistics": name, "split": held_out or "", **row}
    for name, one in (("before", released), ("after", after))
    for row in scorer(one.variables).rows()
  ]
  return {
    "weights": str(out),
    "images": count * batch_size,
    "bad": results.as_rows(bad),
    "counts": {
      "photos": read["photos"],
      "used": count * batch_size,
      "bad": len(bad),
      "left": read["photos"] - count * batch_size - len(bad),
    },
    "rows": rows,
  }


def text(result: dict[str, Any]) -> str:
  """The result of `recalibrate` for people."""
  photos = words.counted(result["images"], "photo")
  lines = [f"statistics of {photos}: {result['weights']}"]
  lines.append(results.counts_line(result["counts"]))
  lines += [*results.lines_about({}, result["bad"], ""), ""]
  lines.append(f"{'':<10}{'answers among':<24}{'top-1':>9}{'top-5':>9}{'top-20':>9}")
  for row in result["rows"]:
    numbers = "".join(f"{row[f'top_{k}']:>9.2%}" for k in TOP_K)
    lines.append(f"{row['statistics']:<10}{row['answers']:<24}{numbers}")
  return "\n".join(lines)


def _statistics(
  released: weights.Weights,
  loader: scoring.ScoreLoader,
  batches: int,
  on: Sequence[jax.Device],
  bad: list[results.Bad],
  read: Counter[str],
) -> tuple[Any, int]:
  """Statistics of the first batches, pooled, and how many batches there were.

  `bad` gets each photo that takes no part, and `read` the number of `photos`.
  """
  measure = parallel.eval_step(_measure(released), on)
  placed = parallel.place(released.variables, on)
  sums: Any = None
  count = 0
  with tqdm(
    total=batches, desc="recalibrate", unit=" batches", disable=None
  ) as progress:
    for image in itertools.islice(_whole_batches(loader, bad, read), batches):
      means = jax.device_get(measure(placed, {"image": image}))
      means = jax.tree.map(np.float64, means)
      sums = means if sums is None else jax.tree.map(np.add, sums, means)
      count += 1
      progress.update()
  return (_pooled(sums, count) if count else None), count


def _held_out(data: Path, split: inputs.Split | None) -> inputs.Split | None:
  """The split to report accuracy on."""
  if inputs.is_packed(data) and "eval" in Manifest.load(data).splits:
    return "eval"
  return split


def _whole_batches(
  loader: scoring.ScoreLoader,
  bad: list[results.Bad],
  read: Counter[str],
) -> Iterator[UInt8[np.ndarray, "d b h w 3"]]:
  """Batches of good photos; what is left over at the end is dropped."""
  waiting: list[np.ndarray] = []
  for batch, examples in loader:
    shape = batch["image"].shape
    images = batch["image"].reshape(-1, *shape[2:])
    good = (image for image, e in zip(images, examples, strict=False) if not e.error)
    waiting += good
    bad += [results.bad_of(e) for e in examples if e.error]
    read["photos"] += len(examples)
    if len(waiting) >= len(images):
      yield np.stack(waiting[: len(images)]).reshape(shape)
      del waiting[: len(images)]


def _measure(released: weights.Weights) -> Callable[[Any, dict[str, Any]], Any]:
  """Means of each batch, and of its squares, averaged over devices."""
  model = released.model.clone(bn_momentum=0.0)  # statistics are the last batch's
  prepared = released.input

  def measure(variables: Any, batch: dict[str, Any]) -> Any:
    image = weights.normalize(batch["image"], prepared.mean, prepared.std)
    _, updates = model.apply(variables, image, train=True, mutable=["batch_stats"])
    return parallel.mean(_by_layer(updates["batch_stats"], _square))

  return measure


def _by_layer(stats: Any, function: Callable[[dict[str, Any]], Any]) -> Any:
  """Applies a function to every `{"mean", "var"}` of a tree."""
  is_layer = lambda node: isinstance(node, dict) and "mean" in node  # noqa: E731
  return jax.tree.map(function, stats, is_leaf=is_layer)


def _square(layer: dict[str, Any]) -> dict[str, Any]:
  return {"mean": layer["mean"], "var": layer["var"] + layer["mean"] ** 2}


def _pooled(sums: Any, count: int) -> Any:
  def pool(layer: dict[str, Any]) -> dict[str, Any]:
    mean, square = layer["mean"] / count, layer["var"] / count
    return {"mean": np.float32(mean), "var": np.float32(square - mean**2)}

  return _by_layer(sums, pool)

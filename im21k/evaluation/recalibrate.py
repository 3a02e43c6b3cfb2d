"""`im21k recalibrate`: weights and photos -> weights with new BatchNorm statistics.

With the original's momentum of 0.1 the published moving statistics are almost those of
one batch of 16.
"""

import dataclasses
from pathlib import Path
from typing import Any

from im21k import targets, weights, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import batch_statistics, inputs, results, score
from im21k.evaluation.accuracy import TOP_K
from im21k.hosts import world
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
  world.check_alone("recalibrate")
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
  found = batch_statistics.estimate(
    released.model, released.input, released.variables, loader, wanted // batch_size, on
  )
  bad = found.bad
  results.refuse_damage(bad)
  if not found.used:
    raise ValueError(
      f"{words.counted(wanted - len(bad), 'photo')} make no whole batch of {batch_size}"
      + (f"; {len(bad):,} cannot be used{results.first_of(bad)}" if bad else "")
    )
  variables = {**released.variables, "batch_stats": found.stats}
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
    "images": found.used,
    "bad": results.as_rows(bad),
    "counts": {
      "photos": found.read,
      "used": found.used,
      "bad": len(bad),
      "left": found.read - found.used - len(bad),
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


def _held_out(data: Path, split: inputs.Split | None) -> inputs.Split | None:
  """The split to report accuracy on."""
  if inputs.is_packed(data) and "eval" in Manifest.load(data).splits:
    return "eval"
  return split

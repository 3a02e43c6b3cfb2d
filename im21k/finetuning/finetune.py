"""The command `finetune`: weights and photos of any classes -> weights for these."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from im21k import files, lock, synsets, targets, weights, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs
from im21k.evaluation.calibrate import calibrate
from im21k.evaluation.evaluate import evaluate
from im21k.finetuning import data as data_of
from im21k.finetuning import head, recipe
from im21k.finetuning.record import Record
from im21k.hosts import world
from im21k.packing import photo_state
from im21k.pages.report import report
from im21k.training import environment, loop, program_cache
from im21k.training.outputs import say
from im21k.weights import document

_FEATURE_BATCH = 32  # On each device.
_CALIBRATED = 100  # Held-out photos from which on probabilities are calibrated.


def finetune(
  weights_dir: Path,
  photos: Path,
  out: Path,
  *,
  classes: str | None = None,
  eval_fraction: float | None = None,
  trunk: recipe.Trunk = "auto",
  steps: int | None = None,
  batch_size: int | None = None,
  rate: float | None = None,
  devices: int | None = None,
  seed: int = 0,
) -> dict[str, Any]:
  """Makes a classifier of your own classes from weights and a folder of photos.

  Packs the photos, holds some of every class out, fits a head to the features of the
  frozen trunk, trains all parameters from there where there are enough photos, and
  evaluates. A killed run is resumed by the same command.

  Args:
    weights_dir: Release folder to start from.
    photos: A folder with a folder of photos for each class, or whatever else pack
      takes; or packed photos.
    out: Folder for all that is made: weights/ (the release folder), report.html, and
      packed/, unless the photos are packed.
    classes: Class list, see `im21k pack`; by default the names of the class folders.
      Packed photos keep the list that they have.
    eval_fraction: Share of every class to hold out, 0.2 by default; packed photos keep
      the split that they have.
    trunk: frozen, only the head is fitted (seconds); train, all parameters are trained;
      auto decides by the number of photos.
    steps: Steps of the training of all parameters; by default 500 for less than 20,000
      photos, 10,000 for less than 500,000, else 20,000.
    batch_size: Photos at a time, over all devices.
    rate: Largest learning rate, 0.003 by default.
    devices: Number of devices; by default all GPUs, or one CPU device.
    seed: Of which photos are held out, order and augmentation.

  Returns:
    `weights`, the release folder; `trunk` and `why`; `train` and `eval`, numbers of
    photos, and `rejected`; `classes`; `top_1` with `top_1_low` and `top_1_high` (95 %,
    Wilson) on the held-out photos, None without such; `calibrated`; `page`;
    `untrained`: number of listed classes without a photo to train on, None where that
    is not known; `fit` of the head: its `l2`, how many `photos` and how many of
    these were `bad`. `failed`, if a part of an archive or a packed photo could not be
    read.

  Raises:
    FileNotFoundError: there are no weights or photos.
    ValueError: an option is out of range, fewer than two classes have photos, or out
      holds something else.
  """
  world.check_alone("finetune")
  data_of.check(photos, classes, eval_fraction, steps, batch_size, rate)
  weights_dir = weights.find(weights_dir)
  targets.check_folder([weights_dir, photos], out=out)
  for place in (weights_dir, photos):
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(place)):
      raise ValueError(f"out is {out}, in {place}, which is read: name another place")
  released = weights.load(weights_dir)
  if Path(os.path.realpath(weights_dir)).is_relative_to(os.path.realpath(photos)):
    raise ValueError(f"weights_dir is in {photos}, whose folders are classes: move it")
  record = Record(
    out,
    {
      "weights": document.read(weights_dir / weights.DOCUMENT).checksum,
      "photos": os.path.realpath(photos),
      "classes": classes,
      "eval_fraction": eval_fraction,
      "trunk": trunk,
      "steps": steps,
      "batch_size": batch_size,
      "rate": rate,
      "seed": seed,
    },
    photo_state.to_pack(photos, data_of.classes_of(photos, classes)),
  )
  if "top_1" in record.result and (out / "weights" / weights.DOCUMENT).is_file():
    return {**record.result, **_places(out)}  # Wherever they were named from.
  on = inputs.devices_for(devices)
  if inputs.is_packed(photos):  # An error before anything is written.
    count = Manifest.load(photos).count("train")
    recipe.choose(count, len(on), trunk, steps, batch_size, rate)
  program_cache.use()
  record.write()
  data, packed, failed = data_of.packed_at(photos, out, classes, eval_fraction, seed)
  train, held_out = (
    packed.count(split) if split in packed.splits else 0 for split in ("train", "eval")
  )
  chosen = recipe.choose(train, len(on), trunk, steps, batch_size, rate)
  say(f"trunk: {chosen.trunk} ({chosen.why})")
  result: dict[str, Any] = {"trunk": chosen.trunk, "why": chosen.why}
  record.write(result, os.path.realpath(data))  # The page reads both.
  around = json.dumps(environment.of(on), indent=1)
  files.write_text(out / "environment.json", f"{around}\n")
  listed = packed.classes(data)
  untrained = data_of.untrained(data, listed)
  fit = _fitted(released, listed, data, out, chosen, on)
  if chosen.trunk == "train":
    start = str(out / "head")
    config = recipe.config(
      chosen, released, data=str(data), start=start, devices=len(on), seed=seed
    )
    loop.train(config, out)
  result = {
    **_places(out),
    **result,
    "train": train,
    "eval": held_out,
    "rejected": packed.rejected,
    "classes": len(listed),
    "fit": fit,
    "untrained": untrained,
    **_measured(out, data, held_out),
    **_failed(failed, fit),
  }
  record.write(result, os.path.realpath(data))
  return result


def text(result: dict[str, Any]) -> str:
  """The result of `finetune` for people."""
  photos = words.counted(result["train"], "photo")
  lines = [
    f"{words.counted(result['classes'], 'class')}, trained on {photos}, "
    f"{result['eval']:,} held out, {result['rejected']:,} rejected",
    f"trunk: {result['trunk']} ({result['why']})",
  ]
  if result["top_1"] is None:
    lines.append("accuracy: not measured, for no photo is held out")
  else:
    low, high = (100 * result[f"top_1_{end}"] for end in ("low", "high"))
    lines.append(
      f"top-1 accuracy on held-out photos: {result['top_1']:.1%} (95 % interval "
      f"{low:.1f}–{high:.1f})"
    )
  if result.get("untrained"):
    what = words.counted(result["untrained"], "class")
    lines.append(f"{what} without a photo to train on: never answered")
  if not result["calibrated"]:
    lines.append(
      f"probabilities are not calibrated: that needs {_CALIBRATED} held-out photos, "
      "of which some are wrong"
    )
  lines += [f"page: {result['page']}", f"weights: {result['weights']}"]
  return "\n".join(lines)


def _places(out: Path) -> dict[str, str]:
  return {"weights": str(out / "weights"), "page": str(out / "report.html")}


def _fitted(
  released: weights.Weights,
  classes: synsets.ClassList,
  data: Path,
  out: Path,
  chosen: recipe.Recipe,
  on: Sequence[jax.Device],
) -> dict[str, Any]:
  """Writes weights with a fitted head; returns what is known of the fit."""
  folder = out / ("weights" if chosen.trunk == "frozen" else "head")
  with lock.hold(out, "fine-tuning"):
    if not (folder / weights.DOCUMENT).is_file():
      made = head.fitted(
        released,
        classes,
        data,
        devices=on,
        batch_size=len(on) * _FEATURE_BATCH,
        is_start=chosen.trunk == "train",
      )
      made.save(folder)
  fit: dict[str, Any] = document.read(folder / weights.DOCUMENT).config[head.FIT]
  return fit


def _failed(packing: str | None, fit: dict[str, Any]) -> dict[str, str]:
  bad = fit["bad"]
  lost = f"{words.counted(bad, 'packed photo')} cannot be decoded" if bad else None
  failed = "; ".join(filter(None, (packing, lost)))
  return {"failed": failed} if failed else {}


def _measured(out: Path, data: Path, held_out: int) -> dict[str, Any]:
  """Accuracy on held-out photos, whether probabilities are calibrated, and the page."""
  folder = out / "weights"
  scores: dict[str, Any] = {"top_1": None, "top_1_low": None, "top_1_high": None}
  if held_out:
    row = evaluate(folder, data)["rows"][0]
    scores = {name: row[name] for name in scores}
  # Where none is wrong, the best temperature is 0: as if nothing could be.
  calibrated = held_out >= _CALIBRATED and scores["top_1"] < 1
  if calibrated:
    calibrate(folder, data)
  report(out, data=data, split="eval" if held_out else "train")
  return {**scores, "calibrated": calibrated}

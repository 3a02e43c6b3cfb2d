"""What comes before all parameters are trained: packing, the recipe, a fitted head.

One host does it; what was done before is not done again.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from im21k import files, lock, synsets, targets, weights, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs
from im21k.finetuning import data as data_of
from im21k.finetuning import head, recipe
from im21k.finetuning.record import Record
from im21k.packing import photo_state
from im21k.training import environment
from im21k.training.config import Config
from im21k.training.outputs import say
from im21k.weights import document

_FEATURE_BATCH = 32  # On each device.


@dataclasses.dataclass(frozen=True)
class Given:
  """What `finetune` is given, the devices of this host, and the number of hosts."""

  weights_dir: Path
  photos: Path
  out: Path
  classes: str | None
  eval_fraction: float | None
  trunk: recipe.Trunk
  steps: int | None
  batch_size: int | None
  rate: float | None
  seed: int
  on: Sequence[jax.Device]
  hosts: int

  def choose(self, count: int) -> recipe.Recipe:
    """The recipe for so many photos to train on."""
    every = len(self.on) * self.hosts
    return recipe.choose(
      count, every, self.trunk, self.steps, self.batch_size, self.rate
    )


@dataclasses.dataclass(frozen=True)
class Begun:
  """A fine-tuning before all parameters are trained.

  Attributes:
    record: of what was asked for.
    result: what is known of it.
    is_done: whether it has ended before.
    data: packed photos, and how many of them are held out.
    config: of the training; None: only the head is fitted.
  """

  record: Record
  result: dict[str, Any]
  is_done: bool = False
  data: Path = Path()
  held_out: int = 0
  config: Config | None = None


def begin(given: Given) -> Begun:
  """Packs the photos and fits the head, as far as that is not done."""
  photos, out = given.photos, given.out
  released, record = _recorded(given)
  if "top_1" in record.result and (out / "weights" / weights.DOCUMENT).is_file():
    # Wherever they were named from.
    return Begun(record, {**record.result, **places(out)}, is_done=True)
  if inputs.is_packed(photos):  # An error before anything is written.
    given.choose(Manifest.load(photos).count("train"))
  record.write()
  data, packed, failed = data_of.packed_at(
    photos, out, given.classes, given.eval_fraction, given.seed
  )
  train, held_out = (
    packed.count(split) if split in packed.splits else 0 for split in ("train", "eval")
  )
  chosen = given.choose(train)
  say(f"trunk: {chosen.trunk} ({chosen.why})")
  result: dict[str, Any] = {"trunk": chosen.trunk, "why": chosen.why}
  record.write(result, os.path.realpath(data))  # The page reads both.
  around = json.dumps(environment.of(given.on), indent=1)
  files.write_text(out / "environment.json", f"{around}\n")
  listed = packed.classes(data)
  untrained = data_of.untrained(data, listed)
  fit = _fitted(released, listed, data, out, chosen, given.on)
  result = {
    **places(out),
    **result,
    "train": train,
    "eval": held_out,
    "rejected": packed.rejected,
    "classes": len(listed),
    "fit": fit,
    "untrained": untrained,
    **_failed(failed, fit),
  }
  config = None
  if chosen.trunk == "train":
    start = str(out / "head")
    config = recipe.config(
      chosen,
      released,
      data=str(data),
      start=start,
      devices=len(given.on),
      seed=given.seed,
    )
  return Begun(record, result, False, data, held_out, config)


def _recorded(given: Given) -> tuple[weights.Weights, Record]:
  """The weights to start from, and the record of what is asked; nothing is written."""
  photos, out = given.photos, given.out
  weights_dir = weights.find(given.weights_dir)
  targets.check_folder([weights_dir, photos], out=out)
  for place in (weights_dir, photos):
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(place)):
      raise ValueError(f"out is {out}, in {place}, which is read: name another place")
  released = weights.load(weights_dir)
  if Path(os.path.realpath(weights_dir)).is_relative_to(os.path.realpath(photos)):
    raise ValueError(f"weights_dir is in {photos}, whose folders are classes: move it")
  asked = ("classes", "eval_fraction", "trunk", "steps", "batch_size", "rate", "seed")
  record = Record(
    out,
    {
      "weights": document.read(weights_dir / weights.DOCUMENT).checksum,
      "photos": os.path.realpath(photos),
      **{name: getattr(given, name) for name in asked},
    },
    photo_state.to_pack(photos, data_of.classes_of(photos, given.classes)),
  )
  return released, record


def places(out: Path) -> dict[str, str]:
  """Where the results are."""
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

"""The command `finetune`: weights and photos of any classes -> weights for these."""

import os
from pathlib import Path
from typing import Any

from im21k import parallel, words
from im21k.evaluation import inputs
from im21k.evaluation.calibrate import calibrate
from im21k.evaluation.evaluate import evaluate
from im21k.finetuning import begin, recipe
from im21k.finetuning import data as data_of
from im21k.hosts import session
from im21k.hosts.commands import over_hosts
from im21k.pages.report import report
from im21k.training import loop, program_cache
from im21k.training.config import Config

_CALIBRATED = 100  # Held-out photos from which on probabilities are calibrated.


@over_hosts
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

  Started by im21k launch, or with its environment on several machines, all hosts train
  all parameters; the rest is done by the first. All must see `out` and the photos.

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
    batch_size: Photos at a time, over all devices of all hosts.
    rate: Largest learning rate, 0.003 by default.
    devices: Number of devices of each host; by default all GPUs, or one CPU device.
    seed: Of which photos are held out, order and augmentation.

  Returns:
    `weights`, the release folder; `trunk` and `why`; `train` and `eval`, numbers of
    photos, and `rejected`; `classes`; `top_1` with `top_1_low` and `top_1_high` (95 %,
    Wilson) on the held-out photos, None without such; `calibrated`; `page`;
    `untrained`: number of listed classes without a photo to train on, None where that
    is not known; `fit` of the head: its `l2`, how many `photos` and how many of
    these were `bad`. `failed`, if a part of an archive or a packed photo could not be
    read. After a signal to the training only `finished`, False, and `stopped_by`.

  Raises:
    FileNotFoundError: there are no weights or photos.
    ValueError: an option is out of range, fewer than two classes have photos, or out
      holds something else.
  """
  data_of.check(photos, classes, eval_fraction, steps, batch_size, rate)
  on = inputs.devices_for(devices)  # Before anything else asks for some.
  program_cache.use()
  if parallel.host():  # What is not training, the first host does alone.
    _train(None, out)
    return {}
  given = begin.Given(
    weights_dir, photos, out, classes, eval_fraction, trunk, steps, batch_size, rate,
    seed, on, parallel.hosts(),
  )  # fmt: skip
  with parallel.alone():
    begun = begin.begin(given)
  trained = _train(begun.config, out)
  if not trained.get("finished", True):
    stopped = {"stopped_by": by} if (by := trained.get("stopped_by")) else {}
    return {"finished": False, **stopped}
  with parallel.alone():
    return begun.result if begun.is_done else _end(begun, out)


def _train(config: Config | None, out: Path) -> dict[str, Any]:
  """Trains all parameters, on all hosts, if the first has a config for it."""
  asked = session.all_say("the training", config and config.to_dict())[0]
  return loop.train(Config.from_dict(asked), out) if asked else {}


def _end(begun: begin.Begun, out: Path) -> dict[str, Any]:
  """Measures what was made."""
  result = {**begun.result, **_measured(out, begun.data, begun.held_out)}
  begun.record.write(result, os.path.realpath(begun.data))
  return result


def text(result: dict[str, Any]) -> str:
  """The result of `finetune` for people."""
  if not result.get("finished", True):
    return "stopped: the same command resumes"
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

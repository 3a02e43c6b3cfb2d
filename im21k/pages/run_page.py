"""A run's work folder -> one page: what it reached, how, and where it is wrong."""

from pathlib import Path
from typing import Any

from im21k import documents, files, original, targets, weights, words
from im21k.evaluation import accuracy, inputs, results
from im21k.pages import curves, render, scored, settings, ticks
from im21k.training.log import read_rows

FINETUNED = "finetune.json"  # What `im21k finetune` records in place of a config.
_FITTED = "The trunk was not trained: the head was fitted to its features at once."


def write(
  workdir: Path,
  data: Path | None,
  split: inputs.Split | None,
  *,
  images: int,
  batch_size: int,
  page_file: Path | None,
) -> dict[str, Any]:
  """Writes a page about a run; see `report`."""
  target = page_file or workdir / "report.html"
  targets.check([], page_file=target)
  read = [workdir / name for name in ("config.json", "metrics.jsonl", "weights")]
  targets.check([*read, *([data] if data else [])], page_file=page_file)
  config, fitted = _config(workdir)
  rows = read_rows(workdir / "metrics.jsonl")
  if any("images" not in row for row in rows):
    raise ValueError(f"{workdir / 'metrics.jsonl'} has a row without images: mend it")
  finished = (workdir / "weights" / weights.DOCUMENT).is_file()
  folder = weights.find(workdir)
  evaluated: dict[str, Any] = {"images": 0, "top_1": None, "counts": None}
  step = None
  if (folder / weights.DOCUMENT).is_file():
    if data is None and "data" not in config:
      raise ValueError(f"{workdir / 'config.json'} names no photos: give --data")
    photos = data or Path(config["data"])
    evaluated = scored.evaluate(folder, photos, split, images, batch_size)
    step = weights.step_of(folder)
  recorded = workdir / "environment.json"
  environment = _read(recorded) if recorded.is_file() else None
  # The original knew nothing of own classes, and was not made from other weights.
  alone = evaluated.get("own") or (workdir / FINETUNED).is_file()
  page = render.page(
    "run_page",
    name=workdir.resolve().name,
    about=_about(config, environment, finished),
    stats=curves.stats(rows, _devices(config)),
    curves=curves.of_run(rows),
    no_curve=_FITTED if fitted else "Nothing has been measured yet.",
    scores=_scores(folder),
    comparison=[] if alone else _comparison(folder, rows),
    mistakes=evaluated.get("mistakes"),
    unfinished=_unfinished(folder.name, step, evaluated) if not finished else None,
    changed=[] if fitted else settings.changed(config),
    config=settings.everything(config),
    history=config.get("history") or [],
    environment=settings.everything(environment) if environment else None,
  )
  files.write_text(target, page)
  return {
    "page": str(target),
    "finished": finished,
    "step": step,
    "images": evaluated["images"],
    "top_1": evaluated["top_1"],
    "counts": evaluated["counts"],
    **evaluated.get("failed", {}),
  }


def text(result: dict[str, Any]) -> str:
  """The result of `write` for people."""
  lines = [f"page: {result['page']}"]
  if not result["finished"]:
    lines.append("the run has not ended")
  if result["images"]:
    photos = words.counted(result["images"], "photo")
    lines.append(f"{photos}, top-1 accuracy {result['top_1']:.2%}")
    lines.append(results.counts_line(result["counts"]))
  else:
    lines.append("there are no weights to evaluate yet")
  return "\n".join(lines)


def _config(workdir: Path) -> tuple[dict[str, Any], bool]:
  """What defines the weights, and whether only their head was fitted, in no run."""
  fitted = workdir / FINETUNED
  if fitted.is_file() and not (workdir / "config.json").is_file():
    found = documents.read(fitted)
    both = [found.get(part, {}) for part in ("asked", "result")]
    if not all(isinstance(part, dict) for part in both):
      raise ValueError(f"{fitted} is damaged: asked and result are no objects")
    return {**both[0], **both[1], "data": found.get("data", "")}, True
  return _read(workdir / "config.json"), False


def _read(path: Path) -> dict[str, Any]:
  if not path.is_file():
    raise FileNotFoundError(f"{path} does not exist: {path.parent} holds no run")
  return documents.read(path)


def _unfinished(name: str, step: int | None, evaluated: dict[str, Any]) -> str:
  """What an unfinished run's page says of its weights."""
  if not evaluated["images"]:
    return "The run has not ended, and there are no weights to evaluate yet."
  at = "" if step is None else f" of step {step:,}"
  return f"The run has not ended: what follows is about its weights {name}/{at}."


def _devices(config: dict[str, Any]) -> int | None:
  devices = config.get("devices")
  return devices if isinstance(devices, int) else None


def _about(
  config: dict[str, Any], environment: dict[str, Any] | None, finished: bool
) -> str:
  """What was trained, on what, and on which machine: one line."""
  parts = ["finished" if finished else "not finished"]
  model = config.get("model")
  if isinstance(model, dict) and "name" in model:
    width = model.get("width", 1)
    parts.append(f"{model['name']}{f', width {width:g}' if width != 1 else ''}")
  if config.get("data"):
    parts.append(f"data {config['data']}")
  if environment and environment.get("devices"):
    parts.append(f"{environment['devices']}, jax {environment.get('jax', '?')}")
  return " · ".join(parts)


def _scores(folder: Path) -> list[tuple[str, ...]]:
  """The evaluations of the run's weights that are recorded, newest last."""
  shown = []
  for row in results.read_rows(folder / results.CSV):
    top = [
      ticks.share_exact(float(row[f"top_{k}"])) if row.get(f"top_{k}") else ""
      for k in accuracy.TOP_K
    ]
    low, high = row.get("top_1_low"), row.get("top_1_high")
    interval = (
      f"{100 * float(low):.1f} to {100 * float(high):.1f}" if low and high else ""
    )
    photos = f"{int(float(row['images'])):,}" if row.get("images") else ""
    where = " ".join(row[key] for key in ("data", "split") if row.get(key))
    shown.append((where, row.get("answers", ""), photos, top[0], interval, *top[1:]))
  return shown


def _comparison(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
  """What this run and the original of 2015 have both measured: rows of a table.

  Training accuracy can be compared where a pass is as long as the original's; scores
  where all of ILSVRC2012's validation photos were evaluated.
  """
  lines: list[tuple[str, ...]] = []
  train = curves.last(rows, "train_top_1")
  epochs = [row for row in rows if row.get("epoch")]
  if train is not None and epochs:
    images = epochs[-1]["images"] / epochs[-1]["epoch"]
    if images > 0.9 * original.IMAGES:
      theirs = f"{original.TRAIN_TOP_1[-1]} %"
      lines.append(("training photos, top-1", _percent(train), theirs))
  measured = results.read_rows(folder / results.CSV)
  for answers, key in (("all 21,841", "all"), ("999 of ilsvrc2012", "ilsvrc2012")):
    # The newest evaluation on all validation photos.
    mine: dict[str, Any] = next(
      (
        row
        for row in reversed(measured)
        if row.get("answers") == answers
        and row.get("images") == str(accuracy.VALIDATION_PHOTOS)
      ),
      {},
    )
    for k, share in zip(accuracy.TOP_K, original.VALIDATION_TOP_K[key], strict=True):
      if mine.get(f"top_{k}"):
        what = f"ILSVRC2012 val among {answers}, top-{k}"
        lines.append((what, _percent(float(mine[f"top_{k}"])), f"{share} %"))
  return lines


def _percent(share: float) -> str:
  return f"{100 * share:.1f} %"

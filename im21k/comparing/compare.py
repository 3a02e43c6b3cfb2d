"""The command `compare`: runs -> settings, curves and scores side by side; a page."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from im21k import files, targets, weights
from im21k.comparing import answers, curves, differences, members, page, paired, wording
from im21k.comparing.answers import Answers
from im21k.comparing.members import Member
from im21k.dataset.manifest import Manifest
from im21k.evaluation import accuracy, inputs, results
from im21k.training import resume

MOST_RUNS = 50
_TOP = (1, 5)
# In a work folder, what must not be written over.
_READ = (
  "config.json", "metrics.jsonl", "environment.json", "finetune.json",
  "weights", "best", "latest",
)  # fmt: skip


def compare(
  *runs: Path,
  data: Path | None = None,
  split: inputs.Split | None = None,
  images: int = 2_000,
  batch_size: int = 64,
  axis: curves.Axis = "images",
  page_file: Path | None = None,
) -> dict[str, Any]:
  """Compares runs: settings that differ, curves, and answers on the same photos.

  Top-1 of each run is tested against that of the first on the same photos: McNemar's
  exact test, with the correction of Holm where there are several. A run without weights
  is compared by its curves alone.

  Args:
    runs: Work folders, finished or not, or release folders; the first is what the
      others are compared with.
    data: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars or
      of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS, or
      tfds:NAME:SPLIT; by default the photos that the runs were trained on, if they are
      the same.
    split: Split of packed photos to evaluate, eval by default.
    images: Maximum number of photos.
    batch_size: Photos at a time, over all devices.
    axis: What the curves are drawn over: images, steps or hours of training.
    page_file: HTML file to write; by default compare.html beside the first run.

  Returns:
    `runs`: their names, paths, history and the step of their weights; `settings`: rows
    of the keys that differ, and `sentence`, the same in words; `environment`; `curves`:
    points of each run; `summaries`: where each run is; `at_shared`: scores where all
    have been; `scores`: top-1 and top-5 with 95 % intervals (Wilson), `tests` of top-1
    against the first (None: no scores, for the reason in `no_scores`); `page`.

  Raises:
    FileNotFoundError: a path holds no run, or there are no such photos.
    ValueError: a file is damaged, or photos that were asked for cannot be used.
  """
  if not 2 <= len(runs) <= MOST_RUNS:
    raise ValueError(
      f"compare needs 2 to {MOST_RUNS} runs, but was given {len(runs)}: name their "
      "work folders"
    )
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  target = page_file or runs[0].resolve().parent / "compare.html"
  inside = [run / name for run in runs for name in _READ]
  targets.check([*inside, *([data] if data else [])], page_file=target)
  read = members.read(runs)
  result: dict[str, Any] = {
    "runs": [_about(run) for run in read],
    "settings": differences.settings(read),
    "environment": differences.environments(read),
    "axis": axis,
    "curves": curves.series(read, axis),
    "summaries": [curves.summary(run) for run in read],
    "at_shared": curves.at_shared(read, axis),
    "scores": None,
    "no_scores": None,
  }
  result["sentence"] = differences.sentence(result["settings"])
  scored = [run for run in read if run.weights]
  photos, reason = _photos(scored, data, split)
  if photos is None:
    result["no_scores"] = reason
  else:
    chosen = inputs.split_for(photos, split, "eval")
    result["scores"], failed = _scores(scored, photos, chosen, images, batch_size)
    result |= failed
  files.write_text(target, page.make(result))
  return {**result, "page": str(target)}


def text(result: dict[str, Any]) -> str:
  """The result of `compare` for people."""
  return wording.text(result)


def _about(run: Member) -> dict[str, Any]:
  return {
    "name": run.name,
    "path": str(run.path),
    "history": run.history,
    "weights": str(run.weights) if run.weights else None,
    "step": run.step,
  }


def _photos(
  scored: Sequence[Member], data: Path | None, split: inputs.Split | None
) -> tuple[Path | None, str]:
  """The photos to score on; or None, and why there are none that all runs share."""
  if len(scored) < 2:
    having = f"only {scored[0].name} has weights" if scored else "no run has weights"
    if data:
      raise ValueError(
        f"data is {data}, but {having} yet: leave data out, or wait for a checkpoint"
      )
    return None, f"{having} yet"
  if data:
    return data, ""
  if not split and (apart := _eval_data(scored)):
    return apart, ""
  hashes = {run.hashes.get("data") for run in scored}
  if len(hashes) > 1:
    return None, (
      "the runs were trained on different photos, so what was held out from one may be "
      "what another has learnt: name photos that none has seen with --data"
    )
  places = {run.settings.get("data") for run in scored}
  there = [
    Path(one) for one in sorted(filter(None, places)) if inputs.is_packed(Path(one))
  ]
  if not there:
    return None, "the photos of the runs are not there any more: name some with --data"
  if hashes == {None} and len(places) > 1:
    return (
      None,
      "nothing says whether the runs have the same photos: name some with --data",
    )
  manifest = Manifest.load(there[0])
  if not split and "eval" not in manifest.splits:
    return None, (
      "the runs held out no photos: name others with --data, or compare on training "
      "photos with --split train"
    )
  if hashes not in ({None}, {manifest.digest}):
    return None, (
      f"{there[0]} holds other photos than the runs were trained on: name some with "
      "--data"
    )
  return there[0], ""


def _eval_data(scored: Sequence[Member]) -> Path | None:
  """The photos of their own that all runs choose the best by, if they are there."""
  name = scored[0].hashes.get(resume.MAIN_SET)
  hashes = {run.hashes.get(f"eval_data.{name}") for run in scored}
  if name is None or len(hashes) > 1:
    return None
  for run in scored:
    folders = run.settings.get("eval_data")
    place = Path(str(folders.get(name))) if isinstance(folders, dict) else None
    if place and inputs.is_packed(place) and Manifest.load(place).digest in hashes:
      return place
  return None


def _scores(
  scored: Sequence[Member],
  data: Path,
  split: inputs.Split | None,
  images: int,
  batch_size: int,
) -> tuple[dict[str, Any], dict[str, str]]:
  """Scores with intervals, and tests against the first; and what could not be read."""
  released = [weights.load(run.weights) for run in scored if run.weights]
  found = answers.compute(released, data, split, most=images, batch_size=batch_size)
  rows = [
    {"run": run.name, "step": run.step, **_shares(found, at)}
    for at, run in enumerate(scored)
  ]
  right = [ranks < 1 for ranks in found.ranks]
  tests = [paired.test(right[0], one) for one in right[1:]]
  corrected = paired.holm([test.p for test in tests])
  return {
    "data": str(data),
    "split": split,
    "photos": found.photos,
    "used": len(right[0]),
    "left": found.left,
    "bad": results.as_rows(found.bad),
    "classes": found.classes,
    "all_classes": found.all_classes,
    "rows": rows,
    "first": scored[0].name,
    "tests": [
      {"run": run.name, **dataclasses.asdict(test), "p_holm": p}
      for run, test, p in zip(scored[1:], tests, corrected, strict=True)
    ],
  }, results.failed(found.bad)


def _shares(found: Answers, at: int) -> dict[str, float]:
  shares: dict[str, float] = {}
  for k in _TOP:
    right, count = int((found.ranks[at] < k).sum()), len(found.ranks[at])
    shares[f"top_{k}"] = right / count
    shares[f"top_{k}_low"], shares[f"top_{k}_high"] = accuracy.wilson(right, count)
  return shares

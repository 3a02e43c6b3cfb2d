"""Recipes for nine passes, compared at a size that two cores can do.

  python benchmarks/recipe.py screen TAR… --work DIR [--part 1/2 --core 0]

TAR hold `train/<synset>/*` and `val/<synset>/*`, photos of 64 pixels (Tiny ImageNet,
which may not be passed on), of 200 classes; the net has all 21,841 outputs. A stage is
a list of recipes in `recipe_cells.py`, each run with the same seeds by what is behind
`im21k sweep`: killed, it goes on where it was, also days later or with more recipes.
With `--core` on that core alone, so that parts run beside each other. `--rows` runs
nothing, and prints a JSON row for each recipe with all seeds: mean and deviation of
top-1, top-5, mean distance to the truth in the hierarchy (levels up to the lowest node
above both, 0 if right) in percent or levels, the gain in top-1 over the first recipe by
pairs of seeds, and processor seconds of a run, its start and evaluation included.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import recipe_cells

from im21k import documents, files
from im21k.comparing import folders, grid, process
from im21k.training import resume
from im21k.training.config import Config
from im21k.training.signals import StopSignals

ROOT = Path(__file__).parents[1]
EVALUATION = "evaluation.json"


def main() -> None:
  """Runs what is missing in the work folder, or prints rows."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("stage", choices=recipe_cells.STAGES)
  parser.add_argument("tars", type=Path, nargs="*")
  parser.add_argument("--work", type=Path, required=True)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--part")
  parser.add_argument("--core", type=int)
  parser.add_argument("--only", action="append", help="run this recipe alone")
  parser.add_argument("--rows", action="store_true")
  given = parser.parse_args()
  work = given.work.absolute()
  if given.core is not None:
    os.sched_setaffinity(0, {given.core})
  data = work / "data"
  if not (data / "manifest.json").exists():
    pack(given.tars, work)
  stage = recipe_cells.STAGES[given.stage]
  runs = all_runs(stage, data, given.seeds, given.only)
  root = work / given.stage
  if given.rows:
    for row in rows(stage, root, runs):
      print(json.dumps({"table": f"recipe-{given.stage}", **row}))
    return
  with StopSignals() as signals:
    for at in grid.share(given.part, len(runs)):
      if not signals.stop and not is_done(root, runs[at]):
        train(root, runs[at], data, signals)


def is_done(root: Path, run: grid.Run) -> bool:
  """Whether the scores of a run are there; an error if they are those of another."""
  place = root / run.name
  if not (place / EVALUATION).exists():
    return False
  there = Config.from_dict(resume.keys_of(documents.read(place / "config.json")))
  if there.resolved() != run.config.resolved():
    raise SystemExit(f"recipe.py: {place} holds another recipe: remove it")
  return True


def train(root: Path, run: grid.Run, data: Path, signals: StopSignals) -> None:
  """Trains and evaluates a run, from where it was."""
  place = root / run.name
  record = folders.Record(place)
  record.begin()
  request = {"do": "train", "config": run.config.to_dict(), "workdir": str(place)}
  outcome = process.ask(request, signals)
  failed = {"reason": outcome.answer["error"]} if "error" in outcome.answer else None
  record.end(outcome.seconds, outcome.processor_s, failed)
  if failed:
    print(f"{run.name}: {failed['reason']}", file=sys.stderr, flush=True)
  elif outcome.answer["finished"]:
    evaluate(place, data)


def pack(tars: list[Path], work: Path) -> None:
  """The photos of the archives in one data set."""
  if not tars:
    raise SystemExit("recipe.py: name the archives of photos")
  for tar in tars:
    with tarfile.open(tar) as archive:
      archive.extractall(work / "photos", filter="data")
  im21k(
    "pack", work / "photos/train", work / "data", "--eval", work / "photos/val",
    "--unlisted", "skip",
  )  # fmt: skip


def all_runs(
  stage: recipe_cells.Stage, data: Path, seeds: int, only: list[str] | None
) -> list[grid.Run]:
  """The runs of a stage, those of the first seed first."""
  found = []
  for seed in range(seeds):
    for at, (name, settings) in enumerate(stage.cells.items()):
      document = recipe_cells.changed({"image_size": stage.image_size, **settings})
      document["model"] = {"width": stage.width, **document["model"]}
      config = Config.from_dict({**document, "data": str(data), "seed": seed})
      folder = f"{name.replace(' ', '_')},seed={seed}"
      if not only or name in only:
        found.append(grid.Run(folder, at, {"recipe": name}, config))
  return found


def evaluate(place: Path, data: Path) -> None:
  """Writes the scores of a finished run; what is needed no longer is removed."""
  found = im21k(
    "evaluate", place / "weights", data, "--split", "eval", "--hierarchical"
  )
  row, height = found["rows"][0], found["hierarchy"]["mistake_height"]
  scores = {name: row[name] for name in ("top_1", "top_5", "loss", "images")}
  scores["distance"] = (1 - row["top_1"]) * (height or 0)
  files.write_text(place / EVALUATION, json.dumps(scores) + "\n")
  for name in ("checkpoints", "best", "latest"):  # A hundred runs need much disk.
    shutil.rmtree(place / name, ignore_errors=True)


def im21k(*arguments: Any) -> dict[str, Any]:
  """The result of a verb."""
  command = [sys.executable, "-m", "im21k", *map(str, arguments), "--json"]
  done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
  return json.loads(done.stdout)


def rows(
  stage: recipe_cells.Stage, root: Path, runs: list[grid.Run]
) -> list[dict[str, Any]]:
  """A row for each recipe of which there are runs."""
  scores: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in stage.cells}
  for run in runs:
    place = root / run.name
    if is_done(root, run):
      cost = {"processor_s": folders.Record(place).sum("processor_s")}
      scores[run.values["recipe"]][run.seed] = {
        **documents.read(place / EVALUATION), **cost
      }  # fmt: skip
  base = scores[next(iter(stage.cells))]
  return [row(name, found, base) for name, found in scores.items() if found]


def row(
  name: str, found: dict[int, dict[str, Any]], base: dict[int, dict[str, Any]]
) -> dict[str, Any]:
  """Means and deviations over the seeds, gains by pairs."""
  result: dict[str, Any] = {"recipe": name, "seeds": len(found)}
  for key, scale in (("top_1", 100), ("top_5", 100), ("distance", 1), ("loss", 1)):
    result |= spread(key, [scale * one[key] for one in found.values()])
  pairs = [
    100 * (one["top_1"] - base[seed]["top_1"])
    for seed, one in found.items()
    if seed in base
  ]
  result |= spread("gain", pairs)
  costs = [one["processor_s"] for one in found.values()]
  return {**result, "processor_s": round(statistics.fmean(costs))}


def spread(name: str, numbers: list[float]) -> dict[str, float | None]:
  """Mean, and standard deviation of a sample."""
  return {
    name: round(statistics.fmean(numbers), 3) if numbers else None,
    f"{name}_std": round(statistics.stdev(numbers), 3) if len(numbers) > 1 else None,
  }


if __name__ == "__main__":
  main()

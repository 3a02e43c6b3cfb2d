"""Recipes for nine passes, compared at a size that two cores can do.

  python benchmarks/recipe.py screen TAR… --work DIR [--part 1/2 --core 0]

TAR hold `train/<synset>/*` and `val/<synset>/*`, photos of 64 pixels (Tiny ImageNet,
which may not be passed on), of 200 classes; the net has all 21,841 outputs. A stage is
a list of recipes in `recipe_cells.py`; `scale` needs 300 photos of a class. Each is run
with the same seeds by what is behind `im21k sweep`: killed, it goes on where it was,
also days later or with more recipes. With `--core` on that core alone, so that parts
run beside each other. `--rows` runs nothing, and prints a JSON row for each recipe with
all seeds: mean and deviation of top-1, top-5, mean distance to the truth in the
hierarchy (levels up to the lowest node above both, 0 if right) in percent or levels,
the gain in top-1 by pairs of seeds over the first recipe, or over all parts together
for what has one less or more, and processor seconds of a run, start and evaluation
included.
"""

import argparse
import functools
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
  stage = recipe_cells.STAGES[given.stage]
  runs = all_runs(stage, work, given.seeds, given.only)
  root = work / given.stage
  if given.rows:
    for row in sorted(rows(stage, root, runs), key=lambda row: -row["top_1"]):
      around = row["against"] == "all"
      name = "recipe-around" if around else f"recipe-{given.stage}"
      print(json.dumps({"table": name, **row}))
    return
  with StopSignals() as signals:
    for at in grid.share(given.part, len(runs)):
      if not signals.stop and not is_done(root, runs[at]):
        pack(given.tars, work, Path(runs[at].config.data))
        train(root, runs[at], signals)


def is_done(root: Path, run: grid.Run) -> bool:
  """Whether the scores of a run are there; an error if they are those of another."""
  place = root / run.name
  if not (place / EVALUATION).exists():
    return False
  there = Config.from_dict(resume.keys_of(documents.read(place / "config.json")))
  if there.resolved() != run.config.resolved():
    raise SystemExit(f"recipe.py: {place} holds another recipe: remove it")
  return True


def train(root: Path, run: grid.Run, signals: StopSignals) -> None:
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
    evaluate(place, Path(run.config.data))


def pack(tars: list[Path], work: Path, data: Path) -> None:
  """The photos of these archives alone in a data set, unless it is there already.

  One named `data-N` has the first N photos of each class, by name.
  """
  if (data / "manifest.json").exists():
    return
  if not tars:
    raise SystemExit(f"recipe.py: name the archives of photos: {data} is not there")
  photos = work / f"photos-{data.name}"
  shutil.rmtree(photos, ignore_errors=True)  # Of other archives, or half unpacked.
  for tar in tars:
    try:
      with tarfile.open(tar) as archive:
        archive.extractall(photos, filter="data")
    except (tarfile.TarError, OSError) as error:
      reason = str(error).partition("\n")[0]
      raise SystemExit(f"recipe.py: {tar} cannot be unpacked: {reason}") from None
  source, count = photos / "train", data.name.partition("-")[2]
  if count:
    source = first(source, photos / count, int(count))
  im21k("pack", source, data, "--eval", photos / "val", "--unlisted", "skip")
  shutil.rmtree(photos)


def first(source: Path, destination: Path, count: int) -> Path:
  """A folder of links to the first photos of each class."""
  for folder in sorted(source.iterdir()):
    there = sorted(folder.iterdir())[:count]
    if len(there) < count:
      raise SystemExit(f"recipe.py: {folder.name} has {len(there)} photos, not {count}")
    (destination / folder.name).mkdir(parents=True)
    for path in there:
      os.link(path, destination / folder.name / path.name)
  return destination


def all_runs(
  stage: recipe_cells.Stage, work: Path, seeds: int, only: list[str] | None
) -> list[grid.Run]:
  """The runs of a stage, those of the first seed first."""
  if unknown := set(only or ()) - set(stage.cells):
    known = ", ".join(stage.cells)
    raise SystemExit(f"recipe.py: no recipe {min(unknown)!r}; there are: {known}")
  found = []
  for seed in range(seeds):
    for at, (name, settings) in enumerate(stage.cells.items()):
      document = recipe_cells.changed({
        "image_size": stage.image_size, "model.width": stage.width, **settings,
      })  # fmt: skip
      photos = document.pop("photos", None)
      document["data"] = str(work / (f"data-{photos}" if photos else "data"))
      config = Config.from_dict({**document, "seed": seed})
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
  configs = {run.values["recipe"]: run.config for run in runs}
  return [
    {**row(name, found, scores[against]), "against": against, **size(configs[name])}
    for name, found in scores.items()
    if found and (against := stage.reference(name))
  ]


def size(config: Config) -> dict[str, Any]:
  """Width of the net, passes; where photos a class were chosen also these, and MFLOP.

  MFLOP are those of the forward pass of a photo, as XLA counts them.
  """
  found = {"width": config.model["width"], "passes": config.total.amount}
  photos = Path(config.data).name.partition("-")[2]
  if photos:
    found |= {"photos": int(photos), "mflop": round(forward_mflop(config), 2)}
  return found


def forward_mflop(config: Config) -> float:
  """Arithmetic of one photo."""
  import jax

  from im21k import models

  net = models.create(config.model["name"], width=config.model["width"])
  images = jax.ShapeDtypeStruct((1, config.image_size, config.image_size, 3), "float32")
  forward = functools.partial(net.apply, train=False)
  init = functools.partial(net.init, train=False)
  variables = jax.eval_shape(init, jax.random.key(0), images)
  lowered = jax.jit(forward).lower(variables, images)
  return float(lowered.cost_analysis()["flops"]) / 1e6


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

"""Hedged answers kept to their promise on photos that nothing was fitted to.

  python benchmarks/hedge.py TAR --work DIR

TAR holds `train/<synset>/*` and `val/<synset>/*`, photos of 64 pixels (Tiny ImageNet,
which may not be passed on). The whole path, by the project's own commands: pack, train
a narrow net on one core or more for some epochs, calibrate on every second photo of
`val`, measure on the others. Killed, it goes on where it was. Prints a JSON row for
flat, hedged and best fixed-level answers: accuracy, mean bits of right ones, depth;
the best fixed level is chosen on the measured photos themselves, in its favour.
`--confidence 0.95` calibrates with a margin, `--loss smoothed` trains with that loss.
"""

import argparse
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> None:
  """Runs what is missing in the work folder, then measures."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("tar", type=Path)
  parser.add_argument("--work", type=Path, required=True)
  parser.add_argument("--epochs", type=int, default=8)
  parser.add_argument("--peak", type=float, default=0.1)
  parser.add_argument("--loss", default="cross_entropy")
  parser.add_argument("--confidence", type=float)
  given = parser.parse_args()
  work = given.work.absolute()
  learn, measure, run = work / "learn", work / "measure", work / given.loss
  if not (measure / "manifest.json").exists():
    divide(given.tar, work)
    keys = ("--eval-keys", str(work / "keys.txt"))
    im21k("pack", work / "learn.tar", learn, "--unlisted", "skip", *keys)
    im21k("pack", work / "measure.tar", measure, "--unlisted", "skip")
  train(learn, run, given)
  margin = ("--confidence", str(given.confidence)) if given.confidence else ()
  calibrated = im21k("calibrate", run / "weights", learn, *margin)
  print(json.dumps({"what": "calibrated", **kept(calibrated)}))
  found = im21k(
    "evaluate", run / "weights", measure, "--split", "train", "--hierarchical",
    "--trained-on", learn, "--csv-file", work / "evaluation.csv",
  )  # fmt: skip
  top = {key: found["rows"][0][key] for key in ("images", "top_1", "top_5")}
  hierarchy = found["hierarchy"]
  print(json.dumps({"what": "flat", **top, **hierarchy["flat"]}))
  for row in hierarchy["hedged"]:
    print(json.dumps({"what": "hedged", **row}))
  height = hierarchy["mistake_height"]
  print(json.dumps({"what": "mistakes", "levels up": height}))


def divide(tar: Path, work: Path) -> None:
  """learn.tar: train and every second photo of val, listed in keys.txt; measure.tar."""
  work.mkdir(parents=True, exist_ok=True)
  keys, seen = [], 0
  with (
    tarfile.open(tar) as source,
    tarfile.open(work / "learn.tar", "w") as learn,
    tarfile.open(work / "measure.tar", "w") as measure,
  ):
    for member in source:
      if not member.isfile():
        continue
      split, _, key = member.name.partition("/")
      seen += split == "val"
      other = split == "val" and seen % 2
      if split == "val" and not other:
        keys.append(key)
      (measure if other else learn).addfile(member, source.extractfile(member))
  (work / "keys.txt").write_text("\n".join(keys) + "\n", encoding="utf-8")


def train(data: Path, run: Path, given: argparse.Namespace) -> None:
  """The demo's narrow net, on one device."""
  subprocess.run(
    [
      sys.executable, ROOT / "experiments" / "run.py",
      f"--config={ROOT / 'experiments' / 'configs' / 'demo.py'}", f"--workdir={run}",
      f"--config.data={data}", "--config.devices=1", "--config.batch_size=64",
      f"--config.total.epochs={given.epochs}", f"--config.schedule.peak={given.peak}",
      "--config.schedule.warmup.epochs=1", f"--config.loss.name={given.loss}",
      "--config.log_every={'steps': 50}", "--config.eval_every={'epochs': 2}",
      "--config.save_every={'epochs': 2}",
    ],
    check=True, stdout=sys.stderr, cwd=ROOT,
  )  # fmt: skip


def im21k(*arguments: Any) -> dict[str, Any]:
  """The result of a verb."""
  command = [sys.executable, "-m", "im21k.cli", *map(str, arguments), "--json"]
  done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
  return json.loads(done.stdout)


def kept(calibrated: dict[str, Any]) -> dict[str, Any]:
  """What is of interest."""
  names = ("images", "temperature", "before", "after", "too_few")
  return {name: calibrated[name] for name in names}


if __name__ == "__main__":
  main()

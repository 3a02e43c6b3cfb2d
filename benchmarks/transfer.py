"""What weights of other classes are worth with few photos: probe, all parameters, none.

  python benchmarks/transfer.py TAR [TAR …] --work DIR

The TARs hold `train/<synset>/*` and one also `val/<synset>/*`, photos of 64 pixels
(Tiny ImageNet, which may not be passed on). A narrow net is trained on every second
class; `im21k finetune` then learns the others from some photos of each, three times
with other photos, with the trunk frozen and with all parameters trained; and the same
run as the latter starts from random numbers, at a rate that suits them. Accuracy is
that on all photos of `val` of these classes. Killed, it goes on where it was. Prints a
JSON row for each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
TRAINED = {
  "batch_size": 128, "total.epochs": 20, "schedule.peak": 0.2,
  "schedule.warmup.epochs": 1, "optimizer.weight_decay": 1e-4,
  "optimizer.decay": "kernels", "augment.crop": "inception", "augment.order": "global",
  "devices": 1, "sync_bn": False, "eval_every.epochs": 5, "save_every.epochs": 2,
}  # fmt: skip
# Random numbers learn nothing at the rate that suits weights.
SCRATCH_RATE = 0.1
WAYS = {"linear probe": "frozen", "all parameters": "train", "from scratch": None}


def main() -> None:
  """Runs what is missing in the work folder, then prints rows."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("tar", type=Path, nargs="+")
  parser.add_argument("--work", type=Path, required=True)
  parser.add_argument("--photos", type=int, default=10, help="of each class")
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--rate", type=float, help="largest learning rate")
  given = parser.parse_args()
  work = given.work.absolute()
  divide(given.tar, work)
  weights = pretrain(work)
  chosen = [sample(work, given.photos, seed) for seed in range(given.seeds)]
  for way, trunk in WAYS.items():
    top_1 = [
      accuracy(work, weights, photos, trunk, given.rate, seed)
      for seed, photos in enumerate(chosen)
    ]
    print(json.dumps(row(way, top_1, given.photos)), flush=True)


def divide(tars: list[Path], work: Path) -> None:
  """Folders `old` and `new`, each with train/ and val/; every second class in each."""
  if (work / "divided").exists():
    return
  for path in tars:
    with tarfile.open(path) as tar:
      members = [member for member in tar if member.isfile()]
      names = sorted({PurePosixPath(m.name).parts[-2] for m in members})
      for member in members:
        split, synset, name = PurePosixPath(member.name).parts[-3:]
        side = ("old", "new")[names.index(synset) % 2]
        target = work / side / split / synset / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tar.extractfile(member).read())
  (work / "divided").touch()


def pretrain(work: Path) -> Path:
  """Weights over the old classes."""
  packed = work / "packed"
  if not (packed / "manifest.json").exists():
    im21k(
      "pack", work / "old/train", packed, "--classes=folders", "--eval-per-class=20"
    )
  keys = [f"--config.{name}={value}" for name, value in TRAINED.items()]
  places = f"--config.data={packed}", f"--config.classes={packed}"
  found = im21k("train", "demo", "--workdir", work / "run", *places, *keys)
  print(json.dumps({"what": "old classes", **found}), flush=True)
  return Path(found["weights"])


def sample(work: Path, photos: int, seed: int) -> Path:
  """A folder with some photos of each of the new classes, as links."""
  folder = work / f"photos-{photos}-{seed}"
  rng = np.random.default_rng(seed)
  for source in sorted((work / "new/train").iterdir()):
    (folder / source.name).mkdir(parents=True, exist_ok=True)
    every = sorted(source.iterdir())
    for index in rng.permutation(len(every))[:photos]:
      link = folder / source.name / every[index].name
      if not link.is_symlink():
        link.symlink_to(every[index])
  return folder


def accuracy(
  work: Path,
  weights: Path,
  photos: Path,
  trunk: str | None,
  rate: float | None,
  seed: int,
) -> float:
  """Top-1 on the photos of val, of one way to learn; None: from random numbers."""
  out = work / f"{photos.name}-{trunk or 'scratch'}{f'-{rate}' if rate else ''}"
  common = (
    "--eval-fraction=0",
    f"--seed={seed}",
    *([f"--rate={rate}"] if rate else []),
  )
  if trunk:
    im21k("finetune", weights, photos, out, "--trunk", trunk, *common)
  else:
    scratch(weights, photos, out, rate, seed)
  scores = im21k("evaluate", out / "weights", work / "new/val")
  return scores["rows"][0]["top_1"]


def scratch(
  weights: Path, photos: Path, out: Path, rate: float | None, seed: int
) -> None:
  """The run of all parameters, but from random numbers."""
  from im21k import weights as released
  from im21k.finetuning import recipe
  from im21k.training import loop

  packed = out / "packed"
  if not (packed / "manifest.json").exists():
    im21k("pack", photos, packed, "--classes=folders", f"--seed={seed}")
  count = sum(1 for _ in photos.glob("*/*"))
  chosen = recipe.choose(count, 1, "train", rate=rate or SCRATCH_RATE)
  config = recipe.config(
    chosen, released.load(weights), data=str(packed), start=None, devices=1, seed=seed
  )
  loop.train(config, out)


def row(way: str, top_1: list[float], photos: int) -> dict[str, Any]:
  """Mean and deviation in percent."""
  percent = [100 * share for share in top_1]
  return {
    "table": "transfer",
    "way": way,
    "photos": photos,
    "top_1": round(statistics.mean(percent), 2),
    "deviation": round(statistics.stdev(percent), 2) if len(percent) > 1 else None,
    "seeds": [round(one, 2) for one in percent],
  }


def im21k(*words: object) -> dict[str, Any]:
  """The result of a command in a process of its own."""
  command = [sys.executable, "-m", "im21k", *map(str, words), "--json"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  if done.returncode:
    raise SystemExit(f"{' '.join(command)}: {done.stderr}")
  result: dict[str, Any] = json.loads(done.stdout)
  return result


if __name__ == "__main__":
  main()

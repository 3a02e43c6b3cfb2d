"""Five own classes of 30 photos: fine-tuned from weights, and the same from scratch.

  python benchmarks/own_classes.py --weights runs/demo/weights --work DIR

The sample photos in five folders of invented names, no synset anywhere. `im21k
finetune` with each seed, which decides what is held out; with a frozen trunk and with
all parameters trained; and the same from a network of random numbers. Prints a JSON row
for each way: top-1 over the held-out photos of all seeds with its 95 % interval, and
the processor time of the command, start and packing included.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from im21k.evaluation import accuracy

ROOT = Path(__file__).parents[1]
PHOTOS = 30
GROUPS = {
  "beasts": "n01621127 n01693783 n01695060 n01697178 n01792640 n01818515 n01827403 "
  "n01846331 n01877134 n01882714 n01893825 n02106662 n02121620 n02128925 n02134084 "
  "n02328429 n02374451 n02395406 n02403454 n02410509 n02411705 n02432983 n02439033 "
  "n02497673 n02509815 n02510455 n02799071 n04540053 n02072493",
  "fishes and crabs": "n02512053 n01443537 n02607072 n01976957 n03938244",
  "big buildings": "n02704949 n02826886 n02956699 n02980441 n02984061 n03010915 "
  "n03386011 n03560430 n03732114 n03849814 n03878066 n04233124 n04407435 n04486054",
  "my tools": "n03481172 n03731695 n03941684 n03966976 n04148054 n04154565 n04213353 "
  "n04606574 n04392113",
  "windmills & co": "n04587559 n04257790 n04258138 n03160309 n03665924 n04306847 "
  "n04141975",
}
TRUNKS = {"frozen": "frozen: a head is fitted", "train": "trained, all parameters"}


def main() -> None:
  """Runs what is missing in the work folder, then prints rows."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--weights", type=Path, required=True)
  parser.add_argument("--work", type=Path, required=True)
  parser.add_argument("--seeds", type=int, default=3)
  given = parser.parse_args()
  work = given.work.absolute()
  photos = arrange(work / "photos")
  random = randomized(given.weights, work / "random")
  for trunk in ("frozen", "train"):
    for start, weights in (
      ("the demo's weights", given.weights),
      ("random numbers", random),
    ):
      found = [
        finetune(
          weights, photos, work / f"{weights.parent.name}-{trunk}-{seed}", trunk, seed
        )
        for seed in range(given.seeds)
      ]
      print(json.dumps(row(trunk, start, found)), flush=True)


def arrange(folder: Path) -> Path:
  """The five folders."""
  for name, synsets in GROUPS.items():
    (folder / name).mkdir(parents=True, exist_ok=True)
    files = [
      path
      for synset in synsets.split()
      for path in sorted((ROOT / "data/sample_photos" / synset).iterdir())
    ]
    assert len(files) >= PHOTOS, (name, len(files))
    for path in files[:PHOTOS]:
      shutil.copy(path, folder / name)
  return folder


def randomized(weights: Path, folder: Path) -> Path:
  """Weights of the same network, as a training starts without any."""
  import jax
  import numpy as np

  from im21k import weights as releases

  released = releases.load(weights)
  side = released.input.size
  images = np.zeros((1, side, side, 3), np.float32)
  init = jax.jit(lambda x: released.model.init(jax.random.key(0), x, train=False))
  releases.Weights(
    released.model_name, released.model_fields, jax.device_get(init(images)),
    released.input, released.classes,
  ).save(folder)  # fmt: skip
  return folder


def finetune(
  weights: Path, photos: Path, out: Path, trunk: str, seed: int
) -> dict[str, Any]:
  """Right answers, photos, and processor seconds of the command."""
  command = [sys.executable, "-m", "im21k", "finetune", weights, photos, out]
  command += ["--trunk", trunk, "--seed", str(seed), "--json"]
  before = os.times()
  done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
  after = os.times()
  if done.returncode:
    raise SystemExit(done.stderr)
  result = json.loads(done.stdout)
  spent = sum(after[2:4]) - sum(before[2:4])
  right = round(result["top_1"] * result["eval"])
  return {"right": right, "photos": result["eval"], "cpu_s": spent}


def row(trunk: str, start: str, found: list[dict[str, Any]]) -> dict[str, Any]:
  """Shares in percent, over all seeds together."""
  right, photos = (sum(one[name] for one in found) for name in ("right", "photos"))
  low, high = accuracy.wilson(right, photos)
  return {
    "table": "own-classes",
    "trunk": TRUNKS[trunk],
    "start": start,
    "top_1": round(100 * right / photos, 1),
    "low": round(100 * low, 1),
    "high": round(100 * high, 1),
    "seeds": [round(100 * one["right"] / one["photos"], 1) for one in found],
    "photos": photos,
    "cpu_s": round(max(one["cpu_s"] for one in found), 1),
  }


if __name__ == "__main__":
  main()

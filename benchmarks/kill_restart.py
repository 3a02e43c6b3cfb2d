"""Kills a run with SIGKILL at random moments and compares its end with an unbroken one.

  python benchmarks/kill_restart.py [--kills 10] [--seed 0]

Prints one JSON row: kills, steps at which the run was found after each, and whether
all final parameters and statistics are equal bit for bit. Packs the sample photos and
trains a narrow Inception-BN on four devices; takes some 20 minutes.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from im21k.packing.pack import pack

ROOT = Path(__file__).parent.parent
_EPOCHS = 40


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--kills", type=int, default=10)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  chance = random.Random(options.seed)
  with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    pack(ROOT / "data" / "sample_photos", work / "photos", eval_per_class=1)
    startup, training = _unbroken(work)
    found, kills = [], 0
    while kills < options.kills:
      process = _start(work, "broken")
      if chance.random() < 0.25:  # while it starts, or soon after
        moment = chance.uniform(0, 1.2 * startup)
      else:  # while it trains, saves or evaluates
        _until_it_measures(work / "broken", process)
        moment = chance.uniform(0, training / options.kills)
      try:
        process.wait(moment)
        break  # It reached its end before it could be killed.
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        kills += 1
        found.append(_latest(work / "broken"))
    _finish(work, "broken")
    first, second = (
      load_file(work / name / "weights" / "weights.safetensors")
      for name in ("unbroken", "broken")
    )
    equal = first.keys() == second.keys() and all(
      np.array_equal(first[key], second[key]) for key in first
    )
  row = {"task": "kill_restart", "kills": kills, "epochs": _EPOCHS, "found_at": found}
  print(json.dumps({**row, "bit_identical": bool(equal)}))
  sys.exit(not equal or kills < options.kills)


def _unbroken(work: Path) -> tuple[float, float]:
  """Runs to the end; returns the seconds up to the first row of metrics, and after."""
  start = time.monotonic()
  process = _start(work, "unbroken")
  _until_it_measures(work / "unbroken", process)
  middle = time.monotonic()
  process.wait()
  end = time.monotonic()
  _finish(work, "unbroken")  # Fails if it failed; else it is over at once.
  return middle - start, end - middle


def _until_it_measures(workdir: Path, process: subprocess.Popen) -> None:
  """Waits until the run writes its next row of metrics, or ends."""
  rows = workdir / "metrics.jsonl"
  # A run that starts may first drop rows past its checkpoint.
  shortest = rows.stat().st_size if rows.exists() else 0
  while process.poll() is None:
    size = rows.stat().st_size if rows.exists() else 0
    shortest = min(shortest, size)
    if size > shortest:
      return
    time.sleep(0.05)


def _finish(work: Path, name: str) -> None:
  if _start(work, name).wait():
    log = (work / f"{name}.log").read_text()
    sys.exit(f"the {name} run failed: {log[-2000:]}")


def _start(work: Path, name: str) -> subprocess.Popen:
  settings = {
    "data": work / "photos", "total.epochs": _EPOCHS, "save_every.epochs": 1,
    "eval_every.epochs": 3, "batch_size": 16, "image_size": 32, "model.width": 0.125,
  }  # fmt: skip
  command = [sys.executable, str(ROOT / "experiments" / "run.py")]
  command += [f"--config={ROOT / 'experiments/configs/demo.py'}"]
  command += [f"--workdir={work / name}"]
  command += [f"--config.{key}={value}" for key, value in settings.items()]
  with (work / f"{name}.log").open("a") as log:
    return subprocess.Popen(command, stdout=log, stderr=log)


def _latest(workdir: Path) -> int:
  """Step of the newest complete checkpoint; 0 if there is none."""
  folder = workdir / "checkpoints"
  names = [p.name for p in folder.iterdir()] if folder.exists() else []
  return max((int(name) for name in names if name.isdigit()), default=0)


if __name__ == "__main__":
  main()

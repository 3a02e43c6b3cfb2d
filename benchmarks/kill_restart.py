"""Kills a run with SIGKILL at random moments and compares its end with an unbroken one.

  python benchmarks/kill_restart.py [--kills 10] [--seed 0]

Prints one JSON row: kills, steps at which the run was found after each, and whether
all final parameters and statistics are equal bit for bit. Packs the sample photos and
trains a narrow Inception-BN on four devices; takes ten minutes.
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

from im21k.data import pack

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
    startup = _startup(work, "unbroken")
    found, kills = [], 0
    while kills < options.kills:
      process = _start(work, "broken")
      try:
        # From the first moment to well after the first steps.
        process.wait(chance.uniform(0, 1.6 * startup))
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        kills += 1
        found.append(_latest(work / "broken"))
        continue
      break  # It reached its end before it could be killed.
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


def _startup(work: Path, name: str) -> float:
  """Runs to the end; returns the seconds that passed before the first measurements."""
  start = time.monotonic()
  rows = work / name / "metrics.jsonl"
  process = _start(work, name)
  while not (rows.exists() and rows.stat().st_size) and process.poll() is None:
    time.sleep(0.1)
  startup = time.monotonic() - start
  process.wait()
  _finish(work, name)  # Fails if it failed; else it is over at once.
  return startup


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

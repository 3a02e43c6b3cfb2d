"""Kills a run with SIGKILL at random moments and compares its end with an unbroken one.

  python benchmarks/kill_restart.py [--kills 10] [--seed 0]

Prints one JSON row: kills, steps at which the run was found after each, and whether
all final parameters and statistics are equal bit for bit. Packs the sample photos and
trains a narrow Inception-BN on four devices; takes ten minutes. Compiled programs are
cached, so that kills hit the training and not only the compiler.
"""

import argparse
import json
import os
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
_EPOCHS = 14


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--kills", type=int, default=10)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  chance = random.Random(options.seed)
  with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    pack(ROOT / "data" / "sample_photos", work / "photos", eval_per_class=1)
    _finish(work, "warm-up")  # fills the cache of compiled programs
    start = time.monotonic()
    _finish(work, "unbroken")
    whole = time.monotonic() - start
    found, kills = [], 0
    while kills < options.kills:
      process = _start(work, "broken")
      try:
        # From the first moment to well after the start: 3/4 of a whole run.
        process.wait(chance.uniform(0, 0.75 * whole))
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
  cache = {
    "JAX_COMPILATION_CACHE_DIR": str(work / "cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  with (work / f"{name}.log").open("a") as log:
    return subprocess.Popen(
      command, stdout=log, stderr=log, env={**os.environ, **cache}
    )


def _latest(workdir: Path) -> int:
  """Step of the newest complete checkpoint; 0 if there is none."""
  folder = workdir / "checkpoints"
  names = [p.name for p in folder.iterdir()] if folder.exists() else []
  return max((int(name) for name in names if name.isdigit()), default=0)


if __name__ == "__main__":
  main()

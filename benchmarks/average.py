"""What an average of weights costs a training step in processor time.

  python benchmarks/average.py [--width 0.25 --size 64 --rounds 15]

The steps of two runs, which differ in `average` alone, take turns in one process on a
batch of the sample photos: 21,841 classes, batch 64. Prints a JSON row: `step_ms` of
processor time without, and `share`, what the average adds in percent, each the median
over rounds of 24 steps, in which the average is updated three times.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import recipe_cells

from im21k.packing.pack import pack
from im21k.training import setup
from im21k.training.config import Config

ROOT = Path(__file__).parents[1]
STEPS = 24


def main() -> None:
  """Prints the row."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--width", type=float, default=0.25)
  parser.add_argument("--size", type=int, default=64)
  parser.add_argument("--rounds", type=int, default=15)
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    data = Path(folder) / "packed"
    pack(ROOT / "data/sample_photos", data, eval_per_class=0)
    document = {
      "data": str(data), "image_size": given.size, "model.width": given.width
    }  # fmt: skip
    without = steps(document)
    averaged = steps({**document, "average": {"name": "ema"}})
  costs, shares = [], []
  for _ in range(given.rounds):
    costs.append(without())
    shares.append(averaged() / costs[-1] - 1)
  row = {
    "table": "average",
    "width": given.width,
    "size": given.size,
    "batch": recipe_cells.BATCH,
    "rounds": given.rounds,
    "step_ms": round(1e3 * statistics.median(costs), 1),
    "share": round(100 * statistics.median(shares), 2),
  }
  print(json.dumps(row))


def steps(document: dict[str, Any]) -> Callable[[], float]:
  """Takes so many steps of such a run; returns processor seconds of one."""
  run = setup.prepare(Config.from_dict(recipe_cells.changed(document)))
  state = run.init()
  take, axes = run.make_step(state)
  state = run.place(state, axes)
  batches = run.batches(0)
  batch = next(batches)
  batches.close()

  def take_all() -> float:
    nonlocal state
    before = time.process_time()
    for _ in range(STEPS):
      state, _ = take(state, batch)
    jax.block_until_ready(state)
    return (time.process_time() - before) / STEPS

  take_all()  # Compiled, and at a position that updates divide.
  return take_all


if __name__ == "__main__":
  main()

"""Damages checkpoints and config.json at random: the same bits, or one line, always.

  python benchmarks/fuzz_runs.py [--seconds 60] [--seed 0]

A small state is saved at two steps. Then bytes of one file are flipped, cut, zeroed or
inserted, and the latest sound checkpoint is restored: it must be the newest or the one
before, bit for bit. Keys of a config are mutated: it must be read, or refused with a
ValueError of one line. Prints one JSON row; exits with 1 if anything else happens.
"""

import argparse
import contextlib
import io
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from im21k import parallel
from im21k.training import configs
from im21k.training.checkpoint import Checkpoints
from im21k.training.config import Config
from im21k.training.step import TrainState

_ODD = [
  None,
  True,
  -1,
  0,
  1e400,
  float("nan"),
  "",
  "\0",
  [],
  {},
  [[]],
  10**400,
  "x" * 99,
]


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--seconds", type=float, default=60)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  chance, end = random.Random(options.seed), time.monotonic() + options.seconds
  counts = {
    "newest": 0,
    "before": 0,
    "refused": 0,
    "config read": 0,
    "config refused": 0,
  }
  finds: list[str] = []
  with tempfile.TemporaryDirectory() as folder:
    template = _saved(Path(folder) / "template")
    while time.monotonic() < end and len(finds) < 10:
      seed = chance.randrange(2**32)
      for what in (_checkpoint, _config):
        try:
          counts[what(template, random.Random(seed))] += 1
        except Exception:
          finds.append(f"{what.__name__} {seed}: {traceback.format_exc()[-800:]}")
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  row = {"task": "fuzz_runs", **counts, "finds": finds, "peak_mib": round(peak)}
  print(json.dumps(row))
  sys.exit(bool(finds))


def _state(step: int) -> TrainState:
  draw = np.random.default_rng(step).standard_normal
  params = {name: jnp.asarray(draw((40, 30)), jnp.float32) for name in "abc"}
  return TrainState(jnp.int32(step), params, {"m": jnp.ones(9)}, {"a": jnp.zeros(5)})


def _saved(folder: Path) -> Path:
  with Checkpoints(folder) as checkpoints:
    for step in (4, 8):
      data, clock = {"example": 8 * step}, {"s": step / 3}
      checkpoints.save(step, _state(step), data, clock, {"top_1": 1 / step})
  return folder


def _checkpoint(template: Path, chance: random.Random) -> str:
  with tempfile.TemporaryDirectory() as place:
    folder = shutil.copytree(template, Path(place) / "checkpoints")
    step = chance.choice(["8", "8", "4"])
    files = sorted(path for path in (folder / step).rglob("*") if path.is_file())
    path = chance.choice(files)
    path.write_bytes(_damaged(path.read_bytes(), chance))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), Checkpoints(folder) as checkpoints:
      like = jax.eval_shape(lambda: _state(0))
      try:
        restored = checkpoints.restore(
          like, {"example": 0}, {"s": 0.0}, parallel.devices(1)
        )
      except ValueError as error:  # Only a newer format is refused.
        assert "\n" not in str(error) and "update im21k" in str(error), error
        return "refused"
    found = int(restored[0].step)
    same = zip(*map(jax.tree.leaves, (restored[0], _state(found))), strict=True)
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in same)
    assert restored[1:] == ({"example": 8 * found}, {"s": found / 3})
    assert said.getvalue().count("\n") <= 1 and len(said.getvalue()) < 600
    assert found == 8 or (step == "8" and "is damaged" in said.getvalue())
    return "newest" if found == 8 else "before"


def _damaged(data: bytes, chance: random.Random) -> bytes:
  changed, at = bytearray(data), chance.randrange(max(1, len(data)))
  match chance.randrange(5):
    case 0 | 1 if data:
      changed[at] ^= 1 << chance.randrange(8)
    case 2:
      del changed[at:]
    case 3:
      changed[at : at + 64] = bytes(len(changed[at : at + 64]))
    case _:
      changed[at:at] = chance.randbytes(chance.randrange(1, 9))
  return bytes(changed)


def _config(_: Path, chance: random.Random) -> str:
  document = configs.load("inception_bn_21k").to_dict()
  for _ in range(chance.randrange(1, 4)):
    place = document
    while True:
      key = chance.choice(list(place) or ["x"])
      if isinstance(place.get(key), dict) and chance.random() < 0.7:
        place = place[key]
        continue
      break
    match chance.randrange(4):
      case 0:
        place.pop(key, None)
      case 1:
        place[f"{key}x"] = place.get(key)
      case _:
        place[key] = chance.choice(_ODD)
  try:
    config = Config.from_dict(document)
    config.make_schedule(1000)
  except ValueError as error:
    assert "\n" not in str(error) and len(str(error)) < 4000, error
    return "config refused"
  return "config read"


if __name__ == "__main__":
  main()

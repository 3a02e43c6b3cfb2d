"""Kills packing with SIGKILL at random moments; compares with an unbroken run: JSON.

python benchmarks/pack_kill.py [--kills 50] [--photos 20000] [--shuffle external]
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import simplejpeg

from im21k import synsets


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--kills", type=int, default=50)
  parser.add_argument("--photos", type=int, default=20_000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--shuffle", default="external", choices=["direct", "external"])
  options = parser.parse_args()
  chance = random.Random(options.seed)
  with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    _make_photos(work / "photos", options.photos)
    begin = time.perf_counter()
    _start(work, "unbroken", options.shuffle).wait()
    seconds = time.perf_counter() - begin
    kills, ends, same = 0, 0, True
    while kills < options.kills:
      process = _start(work, "broken", options.shuffle)
      try:
        # Short spans after start-up: else it would end before many kills.
        process.wait(chance.uniform(0, 1.5 + 2.5 * seconds / options.kills))
        # It came to its end all the same: once more from the beginning.
        same &= _contents(work / "broken") == _contents(work / "unbroken")
        ends += 1
        shutil.rmtree(work / "broken")
      except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    _start(work, "broken", options.shuffle).wait()
    row = {
      "shuffle": options.shuffle,
      "photos": options.photos,
      "kills": kills,
      "unbroken_seconds": round(seconds, 1),
      "ends": ends + 1,
      "same_bytes": same and _contents(work / "broken") == _contents(work / "unbroken"),
      "temporary": [n for n in os.listdir(work / "broken") if n.startswith(".")],
    }
  print(json.dumps(row))


def _make_photos(root: Path, count: int) -> None:
  rng = np.random.default_rng(0)
  chosen = synsets.imagenet21k().synsets[:100]
  for synset in chosen:
    (root / synset).mkdir(parents=True)
  for i in range(count):
    jpeg = simplejpeg.encode_jpeg(rng.integers(0, 256, (32, 32, 3), np.uint8))
    (root / chosen[i % 100] / f"{i}.jpg").write_bytes(jpeg)


def _start(work: Path, name: str, shuffle: str) -> subprocess.Popen:
  command = [
    *(sys.executable, "-m", "im21k.cli", "pack", work / "photos", work / name),
    *("--shuffle", shuffle, "--memory", "0.002", "--shards", "40"),
  ]
  return subprocess.Popen(
    command,
    start_new_session=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )


def _contents(folder: Path) -> dict[str, str]:
  return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


if __name__ == "__main__":
  main()

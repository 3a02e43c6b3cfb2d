"""`im21k features` of many packed photos: rate, memory, and the bytes after kills.

  python benchmarks/features.py WEIGHTS --work DIR [--photos 10000] [--kills 5]

Packs photos of 120 pixels that are cut from the sample photos, then measures three
things. The rate: photos a second of the forward pass alone, on images that wait in
memory, and of the whole way from packed photos to rows; alternately, three times, of
which the medians count. Memory: the resident set of the command, looked at ten times a
second, from a fifth of its rows on; the mean of the last quarter over that of the
first. Kills: the command is killed at random moments and
started again; its files are compared with those of an unbroken one. Prints a JSON row.
"""

import argparse
import hashlib
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
SIDE, BATCH = 120, 64


def main() -> None:
  """Makes what is missing in the work folder, then measures."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("weights", type=Path)
  parser.add_argument("--work", type=Path, required=True)
  parser.add_argument("--photos", type=int, default=10_000)
  parser.add_argument("--kills", type=int, default=5)
  given = parser.parse_args()
  work = given.work.absolute()
  packed = pack(work, given.photos)
  alone, whole = rates(given.weights, packed)
  flat = memory(given.weights, packed, work / "whole")
  same = kills(given.weights, packed, work, given.kills)
  row = {
    "table": "features",
    "weights": given.weights.name,
    "photos": given.photos,
    "forward_per_s": round(alone, 1),
    "features_per_s": round(whole, 1),
    "share": round(whole / alone, 3),
    **flat,
    "kills": given.kills,
    "same_bytes": same,
  }
  print(json.dumps(row))


def pack(work: Path, count: int) -> Path:
  """The folder of packed photos."""
  packed = work / f"packed-{count}"
  if (packed / "manifest.json").exists():
    return packed
  photos = work / f"photos-{count}"
  sources = sorted((ROOT / "data/sample_photos").glob("*/*.jpg"))
  rng = np.random.default_rng(0)
  for index in range(count):
    source = sources[index % len(sources)]
    target = photos / source.parent.name / f"{index}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as picture:
      side = int(min(picture.size) * rng.uniform(0.5, 1))
      left, top = (int(rng.integers(0, one - side + 1)) for one in picture.size)
      square = picture.convert("RGB").crop((left, top, left + side, top + side))
    square.resize((SIDE, SIDE)).save(target, quality=90)
  run("pack", photos, packed)
  return packed


def rates(weights: Path, packed: Path) -> tuple[float, float]:
  """Photos a second of the forward pass alone, and from packed photos to rows."""
  from im21k import parallel, photos
  from im21k import weights as releases
  from im21k.features import stages, stream

  released = releases.load(weights)
  on = parallel.devices(1)
  step = parallel.eval_step(stages.mapped(released, stages.FEATURES, "float32"), on)
  placed = parallel.place(released.variables, on)
  side = released.input.size
  images = np.random.default_rng(0).integers(
    0, 256, (1, BATCH, side, side, 3), np.uint8
  )
  np.asarray(step(placed, {"image": images}))
  alone, whole = [], []
  for _ in range(3):
    begin, rounds = time.perf_counter(), 40
    for _ in range(rounds):
      np.asarray(step(placed, {"image": images}))
    alone.append(rounds * BATCH / (time.perf_counter() - begin))
    source = photos.open(packed, split="train")
    rows = stream.extract(released, source, devices=on, batch_size=BATCH)
    next(rows)  # It has compiled.
    begin, done = time.perf_counter(), 0
    for some in rows:
      done += some.read
    whole.append(done / (time.perf_counter() - begin))
  return statistics.median(alone), statistics.median(whole)


def memory(weights: Path, packed: Path, out: Path) -> dict[str, Any]:
  """Least and most resident memory, and by how much it varies."""
  process = subprocess.Popen(command(weights, packed, out), stdout=subprocess.DEVNULL)
  status, seen = Path(f"/proc/{process.pid}/status"), []
  while process.poll() is None:
    parts = len(list(out.glob("part-*.json"))) if out.is_dir() else 0
    lines = status.read_text().splitlines()
    resident = [int(one.split()[1]) for one in lines if one.startswith("VmRSS")]
    seen += [(parts, kib / 1024) for kib in resident]
    time.sleep(0.1)
  if process.returncode:
    raise SystemExit(f"im21k features ended with {process.returncode}")
  total = len(list(out.glob("part-*.json")))
  flat = [mib for parts, mib in seen if total / 5 <= parts < total]
  quarter = max(1, len(flat) // 4)
  first, last = (statistics.mean(some) for some in (flat[:quarter], flat[-quarter:]))
  return {
    "least_mib": round(min(flat)),
    "most_mib": round(max(flat)),
    "grows": round(last / first - 1, 4),
  }


def kills(weights: Path, packed: Path, work: Path, count: int) -> bool:
  """Whether the files are those of a command that was never killed."""
  out, rng = work / "killed", random.Random(0)
  left = count
  while left:
    process = subprocess.Popen(command(weights, packed, out), stdout=subprocess.DEVNULL)
    before = len(list(out.glob("part-*.json"))) if out.is_dir() else 0
    if rng.random() < 0.5:  # At any moment from its start on; else in a later part.
      time.sleep(rng.uniform(0, 6))
    else:
      while process.poll() is None and len(list(out.glob("part-*.json"))) <= before:
        time.sleep(0.02)
      time.sleep(rng.uniform(0, 0.5))
    if process.poll() is not None:
      break
    process.kill()
    process.wait()
    left -= 1
  subprocess.run(command(weights, packed, out), check=True, stdout=subprocess.DEVNULL)
  if left:
    raise SystemExit(f"it had ended before {left} of the kills: take more photos")
  return digests(out) == digests(work / "whole")


def digests(folder: Path) -> dict[str, str]:
  """SHA-256 of each file."""
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in files
  }


def command(weights: Path, packed: Path, out: Path) -> list[str]:
  """`im21k features`."""
  words = ("features", weights, packed, out, "--split", "train")
  return [sys.executable, "-m", "im21k", *map(str, words), "--batch-size", str(BATCH)]


def run(*words: object) -> None:
  """A command that must succeed."""
  line = [sys.executable, "-m", "im21k", *map(str, words)]
  subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
  main()

"""Images a second and processor time an image, of our loader and of others.

    python benchmarks/load.py --peer tfdata=tf/bin/python --peer dali=dali/bin/python

Each row is one loader in a process of its own: median over the rounds, which go through
all loaders in turn. `cpu_ms_per_image` is the figure to compare where cores are shared.
`floor` is a plain C loop in one thread (needs cc and the headers of libjpeg-turbo).

Photos: those of `data/sample_photos` and parts of them, enlarged to a short side of 375
(`full`, about 65 KB) or 256 (`small`, about 30 KB), with noise, so that a JPEG of
quality 90 is about as large as ImageNet's; or your own, in synset folders: --photos.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from im21k.packing.pack import pack

HERE = Path(__file__).parent
SHORT = {"full": 375, "small": 256}


def make_photos(source: Path, folder: Path, count: int) -> None:
  """Writes `full/` and `small/` and packs them; once."""
  if (folder / "small_packed" / "manifest.json").exists():
    return
  paths = sorted(p for p in source.glob("*/*") if p.suffix.lower() in (".jpg", ".jpeg"))
  rng = np.random.default_rng(0)
  for i in range(count):
    path = paths[i % len(paths)]
    image = cv2.imread(str(path))
    h, w = (int(side * rng.uniform(0.75, 1)) for side in image.shape[:2])
    top, left = (
      rng.integers(a - b + 1) for a, b in zip(image.shape[:2], (h, w), strict=True)
    )
    part = image[top : top + h, left : left + w] if i >= len(paths) else image
    for task, short in SHORT.items():
      scale = short / min(part.shape[:2])
      size = [max(short, round(side * scale)) for side in part.shape[1::-1]]
      made = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
      noisy = np.clip(made + rng.normal(0, 4, made.shape), 0, 255).astype(np.uint8)
      to = folder / task / path.parent.name / f"{i:05d}.jpg"
      to.parent.mkdir(parents=True, exist_ok=True)
      cv2.imwrite(str(to), noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])
  for task in SHORT:
    pack(folder / task, folder / f"{task}_packed", shards=8, workers=2)


def floor(task: str, folder: Path, images: int) -> dict:
  """The row of the C loop."""
  with tempfile.TemporaryDirectory() as build:
    listed, program = Path(build) / "list", Path(build) / "floor"
    photos = sorted((folder / task).glob("*/*.jpg"))[:2000]
    listed.write_text("".join(f"{photo}\n" for photo in photos))
    source = str(HERE / "floor.c")
    compile_it = ["cc", "-O3", source, "-o", str(program), "-ljpeg", "-lm"]
    subprocess.run(compile_it, check=True)
    done = subprocess.run(
      [program, listed, task, str(images)], check=True, capture_output=True, text=True
    )
  ms = float(done.stdout)
  return {"peer": "floor", "task": task, "cpu_ms_per_image": ms, "threads": 1}


def run(python: str, name: str, task: str, folder: Path, batches: int) -> dict:
  environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
  done = subprocess.run(
    [python, HERE / "loaders.py", name, task, folder, str(batches)],
    capture_output=True, text=True, env=environment,
  )  # fmt: skip
  if done.returncode or not done.stdout.strip():
    raise SystemExit(f"{name}: {done.stderr[-2000:]}")
  return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
  parser.add_argument("--photos", type=Path, default=HERE.parent / "data/sample_photos")
  parser.add_argument("--folder", type=Path, default=Path("runs/bench_load"))
  parser.add_argument("--count", type=int, default=2000)
  parser.add_argument("--tasks", nargs="+", default=list(SHORT))
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--batches", type=int, default=30)
  arguments = parser.parse_args()
  folder = arguments.folder.resolve()
  make_photos(arguments.photos, folder, arguments.count)
  peers = {"im21k": sys.executable, "grain": sys.executable}
  peers |= dict(peer.split("=", 1) for peer in arguments.peer)
  for task in arguments.tasks:
    rows: dict[str, list[dict]] = {}
    for _ in range(arguments.rounds):
      for name, python in peers.items():
        row = run(python, name, task, folder, arguments.batches)
        rows.setdefault(name, []).append(row)
      if shutil.which("cc"):
        rows.setdefault("floor", []).append(floor(task, folder, 2000))
    for found in rows.values():
      middle = {
        key: statistics.median(row[key] for row in found)
        for key in found[0]
        if isinstance(found[0][key], float)
      }
      each = [row["cpu_ms_per_image"] for row in found]
      print(json.dumps({**found[0], **middle, "cpu_ms_rounds": each}), flush=True)


if __name__ == "__main__":
  main()

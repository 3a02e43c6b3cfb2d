"""CPU time of packing an image, beside bare loops and other formats: JSON rows.

    python benchmarks/pack.py --peer mds=mds/bin/python --peer im2rec=mx/bin/python …

Every run is a process of its own, with one worker; each round runs all ways in an order
of its own. `cpu_ms` is user and system time an image of the process and its
children, the median over the rounds; `least_cpu_ms` the least. Neither holds
`startup_s`, the time of imports and class list; `few_s` is the whole processor time of
the same way over few photos, which is the cost before the first photo.

On a virtual machine use the least: its host reclaims free memory now and then, and
allocating it again costs more than all that is measured here. A pause before each run
keeps it from memory that the run before has just freed.

Photos: those of `data/sample_photos` enlarged to a short side of 375, quality 90, each
repeated with a comment of its own, so that no two are equal; or yours: --photos, a
folder of synset folders. They are in the page cache.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
PIECE, AHEAD = 4 << 20, 512 << 20
OURS = ("bare", "bare resize", "im21k direct", "im21k external",
        "im21k direct, decoded", "im21k resize")  # fmt: skip


def make_photos(source: Path, folder: Path, count: int) -> None:
  """Writes `count` photos in synset folders, once."""
  if folder.exists():
    return
  rng = np.random.default_rng(0)
  originals = []
  for path in sorted(source.glob("*/*.jp*g")):
    image = cv2.imread(str(path))
    scale = 375 / min(image.shape[:2])
    size = [max(375, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    originals.append((path.parent.name, coded))
  for i in range(count):
    synset, jpeg = originals[i % len(originals)]
    comment = b"\xff\xfe\x00\x0a%08d" % i
    to = folder / synset / f"{synset}_{i}.JPEG"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(jpeg[:2] + comment + jpeg[2:])


def run(python: str, way: str, photos: Path, folder: Path) -> dict:
  path = f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}"
  with tempfile.TemporaryDirectory(dir=folder) as out:
    done = subprocess.run(
      [python, HERE / "packers.py", way, photos, out],
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
      env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
  if done.returncode:
    raise SystemExit(f"{way}: {done.stdout[-2000:]}")
  return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
  parser.add_argument("--photos", type=Path)
  parser.add_argument("--count", type=int, default=12_000)
  parser.add_argument("--few", type=int, default=200)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--ways", nargs="+", help="only these, and the bare loop")
  parser.add_argument("--folder", type=Path, default=Path("runs/bench_pack"))
  arguments = parser.parse_args()
  folder = arguments.folder.resolve()
  photos, few = arguments.photos or folder / str(arguments.count), folder / "few"
  sample = HERE.parent / "data" / "sample_photos"
  if not arguments.photos:
    make_photos(sample, photos, arguments.count)
  make_photos(sample, few, arguments.few)
  ways = dict.fromkeys(OURS, sys.executable)
  ways |= dict(peer.split("=", 1) for peer in arguments.peer)
  if arguments.ways:
    ways = {w: p for w, p in ways.items() if w == "bare" or w in arguments.ways}
  rows: dict[str, list[dict]] = {way: [] for way in ways}
  order = list(ways)
  for _ in range(arguments.rounds):
    random.shuffle(order)
    for way in order:
      rows[way].append(run(ways[way], way, photos, folder))
      print(json.dumps(rows[way][-1]), file=sys.stderr, flush=True)
  least = min(row["cpu_ms"] for row in rows["bare"])
  for way, rounds in rows.items():
    short = run(ways[way], way, few, folder)
    each = sorted(row["cpu_ms"] for row in rounds)
    summary = {
      **rounds[0],
      "cpu_ms": round(statistics.median(each), 4),
      "least_cpu_ms": each[0],
      "least_over_bare": round(each[0] / least, 3),
      "few_s": round(short["startup_s"] + short["cpu_ms"] * short["images"] / 1e3, 3),
      "rounds": each,
    }
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
  main()

"""Memory of packing: one JSON line for each number of photos.

    python benchmarks/pack_memory.py [--counts 10000 100000]

The photos are grey JPEGs of 160 bytes, hard links to one file for each of 100 synset
folders. Every row is a process of its own that lists, checks and writes (`workers=1`);
`idle_mb` is its largest resident set before packing, the class list read, and `peak_mb`
after it.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from im21k import synsets
from im21k.packing.pack import pack

_FOLDERS = 100


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
  parser.add_argument("--source", type=Path, help="pack these photos, print one row")
  arguments = parser.parse_args()
  if arguments.source:
    print(json.dumps(_row(arguments.source)))
    return
  for count in arguments.counts:
    with tempfile.TemporaryDirectory() as folder:
      source = Path(folder) / "photos"
      _make_photos(source, count)
      subprocess.run([sys.executable, __file__, "--source", str(source)], check=True)


def _make_photos(root: Path, count: int) -> None:
  file = io.BytesIO()
  Image.new("L", (8, 8), 128).save(file, "JPEG", optimize=True)
  for index, synset in enumerate(synsets.imagenet21k().synsets[:_FOLDERS]):
    (root / synset).mkdir(parents=True)
    first = root / synset / f"{synset}_0.JPEG"
    first.write_bytes(file.getvalue())
    for i in range(1, len(range(index, count, _FOLDERS))):
      os.link(first, root / synset / f"{synset}_{i}.JPEG")


def _row(source: Path) -> dict:
  synsets.imagenet21k()
  idle = _peak_mb()
  start = time.perf_counter()
  result = pack(source, source.parent / "packed", workers=1)
  seconds = time.perf_counter() - start
  return {
    "photos": result["train"],
    "idle_mb": idle,
    "peak_mb": _peak_mb(),
    "seconds": round(seconds, 1),
  }


def _peak_mb() -> float:
  """Largest resident set so far; `getrusage` would count the parent's in."""
  status = Path("/proc/self/status").read_text()
  return round(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024, 1)


if __name__ == "__main__":
  main()

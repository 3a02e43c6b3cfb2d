"""Plans the shuffle of 14,197,122 photos that do not exist: two JSON rows.

python benchmarks/pack_plan.py [--photos 14197122] [--folder runs/pack_plan]

`direct` lists them as files and makes the tasks of all shards; `external` reads the
side files of runs of 30,000 photos (written before, by another process) and locates
the records of each shard.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from im21k import synsets
from im21k.packing import outcomes, run_files, scratch
from im21k.packing.config import PackOptions
from im21k.packing.photo_index import PhotoIndex, placer
from im21k.packing.selection import Selection
from im21k.packing.shard_plan import ShardPlan
from im21k.photos import sources

_RUN = 30_000  # photos of 110 kB in 3.3 GB


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--photos", type=int, default=14_197_122)
  parser.add_argument("--folder", type=Path, default=Path("runs/pack_plan"))
  parser.add_argument("--do", choices=["direct", "make", "external"])
  arguments = parser.parse_args()
  if arguments.do:
    globals()[f"_{arguments.do}"](arguments.folder, arguments.photos)
    return
  for do in ("direct", "make", "external"):
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--do", do], check=True)
  shutil.rmtree(arguments.folder)


def _direct(folder: Path, count: int) -> None:
  start = time.perf_counter()
  index = PhotoIndex.read(_entries(count), _selection().label, 0)
  held = index.lowest_ranks(lambda size: 50 * (size > 500))
  plan = ShardPlan(index, held, ~index.repeated(), None)
  _print_row("direct", start, sum(len(task.keys) for task in plan))


def _make(folder: Path, count: int) -> None:
  folder.mkdir(parents=True)
  selection, entries = _selection(), _entries(count)
  place = placer(0)
  for run in range(-(-count // _RUN)):
    rows = [next(entries) for _ in range(min(_RUN, count - run * _RUN))]
    keys = [row.key.encode() for row in rows]
    places = np.frombuffer(b"".join(map(place, keys)), "<u8").reshape(-1, 2)
    order = np.argsort(places[:, 0])
    keys = [keys[row] for row in order]
    lengths = np.full(len(keys), 110_000, np.int32)
    arrays = {
      "keys": np.frombuffer(b"".join(keys), np.uint8),
      "ends": np.cumsum([len(key) for key in keys]),
      "labels": np.array([selection.labels[rows[i].synset] for i in order], np.int32),
      "places": places[order],
      "digests": places[order],
      "kinds": np.zeros(len(keys), np.uint32),
      "offsets": np.cumsum(lengths, dtype=np.int64) - lengths,
      "lengths": lengths,
      "rejections": outcomes.to_bytes([]),
    }
    head = {"photos": len(keys), "key_bytes": sum(map(len, keys)), "last": True}
    scratch.save(run_files.run_path(folder, run, 0), head, arrays)


def _external(folder: Path, count: int) -> None:
  start = time.perf_counter()
  rows, *_ = run_files.gather(sorted(folder.glob("run-*.run")))
  index = PhotoIndex(*(rows[name] for name in ("keys", "ends", "labels", "places")))
  held = index.lowest_ranks(lambda size: 50 * (size > 500))
  usable = ~index.repeated() & (rows["lengths"] > 0)
  where = rows["runs"], rows["offsets"], rows["lengths"]
  planned = 0
  for task in ShardPlan(index, held, usable, None):
    runs, _, _ = (array[task.rows] for array in where)
    planned += len(runs)
  _print_row("external", start, planned)


def _print_row(way: str, start: float, planned: int) -> None:
  status = Path("/proc/self/status").read_text()
  peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024**2
  seconds = round(time.perf_counter() - start, 1)
  row = {"way": way, "planned": planned, "seconds": seconds}
  print(json.dumps({**row, "peak_gib": round(peak, 3)}), flush=True)


def _selection() -> Selection:
  return Selection.of(PackOptions(), synsets.imagenet21k())


def _entries(count: int) -> Iterator[sources.Entry]:
  names = synsets.imagenet21k().synsets
  for i in range(count):
    synset = names[i * len(names) // count]
    yield sources.Entry(f"{synset}/{synset}_{i}.JPEG", synset, "nowhere")


if __name__ == "__main__":
  main()

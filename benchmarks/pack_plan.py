"""Plans the shuffle of 14,197,122 photos that do not exist: two JSON rows.

python benchmarks/pack_plan.py [--photos 14197122] [--folder runs/pack_plan]

`direct` lists them as files, and makes the tasks of all shards; `external` takes them
from what runs of 30,000 photos tell (made before, by another process) and says for
each shard where its records lie.
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
from im21k.packing import bundle, driver, external_shuffle, outcomes, repair
from im21k.packing.split import Table
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
  table, _ = Table.read(_entries(count), _choice())
  held = table.held_out(lambda size: 50 * (size > 500))
  tasks = driver.ShardTasks(table, held, ~table.repeated(), None)
  _tell("direct", start, sum(len(task.keys) for task in tasks))


def _make(folder: Path, count: int) -> None:
  folder.mkdir(parents=True)
  choice, entries = _choice(), _entries(count)
  place = choice.placer()
  for run in range(-(-count // _RUN)):
    rows = [next(entries) for _ in range(min(_RUN, count - run * _RUN))]
    keys = [row.key.encode() for row in rows]
    places = np.frombuffer(b"".join(map(place, keys)), "<u8").reshape(-1, 2)
    order = np.argsort(places[:, 0])
    keys = [keys[row] for row in order]
    lengths = np.full(len(keys), 110_000, np.int32)
    bundle.save(
      external_shuffle.run_path(folder, run, 0),
      {"photos": len(keys), "key_bytes": sum(map(len, keys)), "last": True},
      keys=np.frombuffer(b"".join(keys), np.uint8),
      ends=np.cumsum([len(key) for key in keys]),
      labels=np.array([choice.labels[rows[i].synset] for i in order], np.int32),
      places=places[order],
      digests=places[order],
      kinds=np.zeros(len(keys), np.uint32),
      offsets=np.cumsum(lengths, dtype=np.int64) - lengths,
      lengths=lengths,
      notes=outcomes.as_bytes([]),
    )


def _external(folder: Path, count: int) -> None:
  start = time.perf_counter()
  rows, _ = external_shuffle.gather(sorted(folder.glob("run-*.run")))
  table = Table(*(rows[name] for name in ("keys", "ends", "labels", "places")))
  held = table.held_out(lambda size: 50 * (size > 500))
  usable = ~table.repeated() & (rows["lengths"] > 0)
  where = rows["runs"], rows["offsets"], rows["lengths"]
  planned = 0
  for task in driver.ShardTasks(table, held, usable, None):
    runs, _, _ = (array[task.rows] for array in where)
    planned += len(runs)
  _tell("external", start, planned)


def _tell(way: str, start: float, planned: int) -> None:
  status = Path("/proc/self/status").read_text()
  peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024**2
  seconds = round(time.perf_counter() - start, 1)
  row = {"way": way, "planned": planned, "seconds": seconds}
  print(json.dumps({**row, "peak_gib": round(peak, 3)}), flush=True)


def _choice() -> external_shuffle.Choice:
  classes = synsets.imagenet21k()
  labels = {synset: label for label, synset in enumerate(classes.synsets)}
  return external_shuffle.Choice(
    classes.name, labels, {}, False, frozenset(), 0, repair.Rules()
  )


def _entries(count: int) -> Iterator[sources.Entry]:
  names = synsets.imagenet21k().synsets
  for i in range(count):
    synset = names[i * len(names) // count]
    yield sources.Entry(f"{synset}/{synset}_{i}.JPEG", synset, "nowhere")


if __name__ == "__main__":
  main()

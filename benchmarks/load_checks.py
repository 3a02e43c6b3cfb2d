"""What the loader promises, at full length: one JSON row a check.

    python benchmarks/load_checks.py resume memory scaling order disk

`resume`: 100 stops at random examples, each time with other threads, worker processes,
devices and batch sizes; the stream's pixels must be those of an unbroken one.
`memory`: over 20 epochs, with two threads and with two worker processes.
`scaling`: images/s of one thread and of two.
`order`: how far blockwise order moves records, and its runs of one shard, beside the
global order's. `disk`: reads of one epoch, traced by strace, on a model of a disk of
110 seeks/s and 170 MB/s behind 2 GB of cache (needs strace and 3 GB of disk).
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from im21k import files, synsets
from im21k.dataset import records
from im21k.dataset.manifest import Manifest, Shard
from im21k.loading.config import LANES
from im21k.loading.order import Blockwise, Global
from im21k.loading.train import TrainLoader

RUNS = Path("runs")
SMALL = RUNS / "bench_load" / "small_packed"  # made by load.py
SEEKS, RATE, CACHE, PAGE = 110, 170e6, 2 * 10**9, 2**16


def resume() -> dict:
  size, total = 64, 12_000
  options = {"image_size": size, "short_side": 73, "crop": "inception"}

  def digest(batches, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
      batch = next(batches)
      pixels = batch["image"].reshape(-1, size, size, 3)
      labels = batch["label"].ravel()
      for image, label in zip(pixels, labels, strict=True):
        found.append(hashlib.sha256(image.tobytes() + bytes([label % 256])).hexdigest())
    return found

  whole = digest(TrainLoader(SMALL, batch_size=40, **options).iter_from(0), total)
  rng, wrong = np.random.default_rng(0), 0
  for stop in range(100):
    start = int(rng.integers(total - 200))
    devices, threads = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    workers = int(rng.integers(1, 3)) if stop % 10 == 0 else 0
    loader = TrainLoader(
      SMALL, batch_size=devices * int(rng.integers(1, 17)), devices=devices,
      threads=threads, workers=workers, **options,
    )  # fmt: skip
    found = digest(loader.iter_from(start), 64)
    wrong += found != whole[start : start + len(found)]
    del loader
  return {"stops": 100, "with_worker_processes": 10, "wrong": wrong}


def memory() -> dict:
  return {
    "threads_2": _memory(threads=2, workers=0),
    "workers_2": _memory(threads=1, workers=2),
  }


def _memory(**options: int) -> dict:
  """Of this process and its workers together; pages they share are counted once."""
  loader = TrainLoader(SMALL, batch_size=128, **options)
  batches, after = loader.iter_from(0), []
  steps = loader.count // 128
  for _ in range(20):
    for _ in range(steps):
      next(batches)
    time.sleep(1)  # Until as many batches are ready as there ever are.
    after.append(sum(_proportional_mb(pid) for pid in ("self", *_children())))
  return {
    "processes": 1 + len(_children()),
    "mb_after_epoch": [round(mb, 1) for mb in after],
    "growth_from_2_to_20": round(after[-1] / after[1] - 1, 4),
    "spread_from_2_to_20": round(max(after[1:]) / min(after[1:]) - 1, 4),
    "shm_files": len(os.listdir("/dev/shm")),
  }


def _children() -> list[str]:
  """Whichever thread started them."""
  listed = Path("/proc/self/task").glob("*/children")
  return [pid for threads_own in listed for pid in threads_own.read_text().split()]


def _proportional_mb(pid: str) -> float:
  text = Path(f"/proc/{pid}/smaps_rollup").read_text()
  return int(re.search(r"^Pss: +(\d+) kB", text, re.M)[1]) / 1e3


def scaling() -> dict:
  rates: dict[int, list[float]] = {1: [], 2: []}
  for _ in range(5):
    for threads, found in rates.items():
      batches = TrainLoader(
        RUNS / "bench_load" / "full_packed",
        batch_size=64, crop="inception", threads=threads,
      ).iter_from(0)  # fmt: skip
      for _ in range(8):
        next(batches)
      start = time.perf_counter()
      for _ in range(40):
        next(batches)
      found.append(64 * 40 / (time.perf_counter() - start))
  one, two = max(rates[1]), max(rates[2])
  return {"one": round(one), "two": round(two), "ratio": round(two / one, 3)}


def order() -> dict:
  """A data set of 250 GB: 14.2 M records of 17.6 KB in 256 shards."""
  counts = [55_457] * 256
  made = Blockwise(counts, [count * 17_600 for count in counts], 0, lanes=LANES)
  row: dict = {"records": made.count}
  labels = np.random.default_rng(0).integers(0, 21_841, 200_000, np.int32)
  for name, chosen in (("blockwise", made), ("global", Global(made.count, 0))):
    start = made.count // 2
    found = np.array([chosen[start + i] for i in range(200_000)])
    shards = found // counts[0]
    row[name] = {
      "shards_in_a_batch_of_256": float(
        np.mean([len(set(shards[i : i + 256])) for i in range(0, 200_000, 256)])
      ),
      "neighbours_from_one_shard": float((shards[1:] == shards[:-1]).mean()),
      "neighbours_within_1000_records": float((np.abs(np.diff(found)) < 1000).mean()),
      "median_distance_of_neighbours": float(np.median(np.abs(np.diff(found)))),
      "runs_of_one_label": float((labels[found % 200_000][1:] ==
                                  labels[found % 200_000][:-1]).mean()),
    }  # fmt: skip
  return row


def disk() -> dict:
  folder = RUNS / "bench_disk"
  if not (folder / "manifest.json").exists():
    _write(folder, shards=10, count=16_000, size=17_600)
  for old in RUNS.glob("disk.strace*"):
    old.unlink()
  # A file a thread: lines of one thread are whole, and are sorted by time.
  subprocess.run(
    ["strace", "-ff", "-ttt", "-y", "-e", "trace=pread64", "-o", RUNS / "disk.strace",
     sys.executable, __file__, "read"],
    check=True, capture_output=True,
  )  # fmt: skip
  lines = sorted(
    line
    for trace in RUNS.glob("disk.strace*")
    for line in trace.read_text(errors="replace").splitlines()
    if "train-" in line
  )
  call = re.compile(r"pread64\(\d+<([^>]*train-[^>]*)>, .*, (\d+), (\d+)\) += (\d+)")
  cache: OrderedDict = OrderedDict()
  seeks = read = 0
  head: tuple = ()
  for line in lines:
    found = call.search(line)
    if not found:
      continue
    path, _, offset, length = found.groups()
    first, last = int(offset) // PAGE, (int(offset) + int(length) - 1) // PAGE
    for page in range(first, last + 1):
      if (path, page) in cache:
        cache.move_to_end((path, page))
        continue
      seeks += head != (path, page)
      head = (path, page + 1)
      read += PAGE
      cache[path, page] = None
      if len(cache) * PAGE > CACHE:
        cache.popitem(last=False)
  stored = sum(p.stat().st_size for p in folder.glob("train-*"))
  took, ideal = seeks / SEEKS + read / RATE, stored / RATE
  return {
    "gb": round(stored / 1e9, 2), "gb_read": round(read / 1e9, 2), "seeks": seeks,
    "of_sequential_rate": round(ideal / took, 4),
    "images_per_s": round(160_000 / took),
  }  # fmt: skip


def read() -> None:
  """One epoch of records in their order, without pixels; traced by `disk`."""
  loader = TrainLoader(RUNS / "bench_disk", batch_size=256)
  examples = loader._examples
  for first in range(0, loader.count - 255, 256):
    positions = range(first, first + 256)
    examples.prepare(positions)
    for position in positions:
      examples._records.example(examples._order[position])


def _write(folder: Path, shards: int, count: int, size: int) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  rng, made = np.random.default_rng(0), []
  for index in range(shards):
    name = records.shard_name("train", index, shards)
    writer = ArrayRecordWriter(str(folder / name), records.WRITER_OPTIONS)
    for i in range(count):
      jpeg = rng.bytes(int(size * rng.uniform(0.3, 1.7)))
      writer.write(records.encode(records.Example(f"{index}/{i}", 0, jpeg)))
    writer.close()
    made.append(Shard(name, count, (folder / name).stat().st_size, ""))
  files.write_text(folder / "classes.txt", "n01440764\n")
  classes = synsets.from_file(folder / "classes.txt")
  Manifest("classes", classes.hash, 0, {}, {"train": tuple(made)}, 0).save(folder)


if __name__ == "__main__":
  for check in sys.argv[1:]:
    result = globals()[check]()
    if result:
      print(json.dumps({"check": check, **result}), flush=True)

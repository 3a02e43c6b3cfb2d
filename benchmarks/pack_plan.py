"""Plans the shuffle of 14,197,122 photos that do not exist: one JSON row.

python benchmarks/pack_plan.py [--photos 14197122]
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from im21k import synsets
from im21k.data import repair, sources, spool
from im21k.data.table import Table


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--photos", type=int, default=14_197_122)
  count = parser.parse_args().photos
  classes = synsets.imagenet21k()
  labels = {synset: label for label, synset in enumerate(classes.synsets)}
  choice = spool.Choice(classes.name, labels, {}, False, frozenset(), 0, repair.Rules())
  start = time.perf_counter()
  table, _ = Table.read(_entries(classes.synsets, count), choice)
  held = table.held_out(lambda size: 50 * (size > 500))
  usable = ~table.repeated()
  planned = sum(len(task.keys) for task in table.shards("train", usable & ~held, None))
  planned += sum(len(task.keys) for task in table.shards("eval", usable & held, None))
  status = Path("/proc/self/status").read_text()
  peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024**2
  seconds = time.perf_counter() - start
  row = {"planned": planned, "seconds": round(seconds, 1), "peak_gib": round(peak, 3)}
  print(json.dumps(row))


def _entries(names: tuple[str, ...], count: int) -> Iterator[sources.Entry]:
  nowhere = Path("nowhere")
  for i in range(count):
    synset = names[i * len(names) // count]
    yield sources.Entry(f"{synset}/{synset}_{i}.JPEG", synset, nowhere)


if __name__ == "__main__":
  main()

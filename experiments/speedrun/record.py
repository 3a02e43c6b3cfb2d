"""Runs a record of the speedrun: processor seconds to a fixed held-out top-1.

  make record RECORD=1 PHOTOS=tiny_imagenet_subset.tar

RECORD is the number of a config in `records/`, or a config file of your own. It is
trained with seeds 0, 1 and 2, each in a process of its own on two cores, without
programs that were compiled before. What counts: the processor seconds of such a process
from its start to its end, on average; and top-1 over all held-out photos at its end, on
average, which must reach the target. Killed, it goes on with the next seed. The last
line is the row as JSON, with the SHA-256 of the weights of each seed: where the row of
this record in `benchmarks/results/speedrun.jsonl` is of this machine's kind, they must
be the same, or the exit status is 1.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from im21k import files

ROOT = Path(__file__).parents[2]
RECORDS = Path(__file__).parent / "records"
RESULTS = ROOT / "benchmarks/results/speedrun.jsonl"
TARGET = 0.07
SEEDS = (0, 1, 2)
CORES = 2


def main() -> int:
  """Packs if need be, runs what is missing, prints the row."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("record", help="number, or config file")
  parser.add_argument("--photos", type=Path, help="archive of train/ and val/")
  parser.add_argument("--work", type=Path, default=ROOT / "runs/speedrun")
  given = parser.parse_args()
  config = find(given.record)
  cores = sorted(os.sched_getaffinity(0))
  if len(cores) < CORES:
    raise SystemExit(f"record.py: needs {CORES} cores, and has {len(cores)}")
  os.sched_setaffinity(0, cores[:CORES])
  work = given.work.absolute()
  pack(given.photos, work)
  ran = [run(config, work, seed) for seed in SEEDS]
  found = row(config.stem, ran)
  print(json.dumps(found))
  return int(not is_same(found))


def find(record: str) -> Path:
  """The config of a record."""
  if Path(record).suffix == ".py":
    return Path(record).absolute()
  there = sorted(RECORDS.glob(f"{int(record):02}_*.py")) if record.isdecimal() else []
  if not there:
    known = ", ".join(path.stem for path in sorted(RECORDS.glob("*.py")))
    raise SystemExit(f"record.py: no record {record!r}; there are {known}")
  return there[0]


def pack(photos: Path | None, work: Path) -> None:
  """The packed photos in the work folder, from the archive."""
  data = work / "data"
  if (data / "manifest.json").exists():
    return
  if photos is None:
    raise SystemExit("record.py: name the archive of photos: PHOTOS=FILE.tar")
  try:
    with tarfile.open(photos) as archive:
      archive.extractall(work / "photos", filter="data")
  except (tarfile.TarError, OSError) as error:
    reason = str(error).partition("\n")[0]
    raise SystemExit(f"record.py: {photos} cannot be unpacked: {reason}") from None
  arguments = ["--eval", work / "photos/val", "--unlisted", "skip"]
  im21k("pack", work / "photos/train", data, *arguments)


def run(config: Path, work: Path, seed: int) -> dict[str, Any]:
  """Trains with a seed: `top_1`, `processor_s`, `seconds`, `sha256` of the weights."""
  place = work / config.stem / f"seed-{seed}"
  path = place / "record.json"
  if path.exists():
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept
  shutil.rmtree(place, ignore_errors=True)  # Its cost would not be whole.
  before, begun = os.times(), time.monotonic()
  result = im21k(
    "train", config, "--workdir", place, f"--config.data={work / 'data'}",
    f"--config.seed={seed}",
  )  # fmt: skip
  after, seconds = os.times(), time.monotonic() - begun
  cpu = sum(after[2:4]) - sum(before[2:4])
  model = json.loads((place / "weights/model.json").read_text(encoding="utf-8"))
  found = {
    "top_1": result["eval_top_1"],
    "processor_s": round(cpu, 1),
    "seconds": round(seconds, 1),
    "sha256": model["arrays_sha256"],
  }
  files.write_text(path, json.dumps(found) + "\n")
  return found


def im21k(*arguments: Any) -> dict[str, Any]:
  """The result of a verb, compiled from nothing."""
  command = [sys.executable, "-m", "im21k", *map(str, arguments), "--json"]
  environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": ""}
  done = subprocess.run(
    command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=environment
  )
  result: dict[str, Any] = json.loads(done.stdout)
  return result


def row(name: str, ran: list[dict[str, Any]]) -> dict[str, Any]:
  """The row of a record, means over the seeds."""
  tops = [100 * one["top_1"] for one in ran]
  top_1 = statistics.fmean(tops)
  return {
    "table": "speedrun",
    "record": name,
    "reached": top_1 >= 100 * TARGET,
    "processor_s": round(statistics.fmean(one["processor_s"] for one in ran)),
    "processor_s_std": round(statistics.stdev(one["processor_s"] for one in ran), 1),
    "top_1": round(top_1, 2),
    "top_1_std": round(statistics.stdev(tops), 2),
    "sha256": [one["sha256"] for one in ran],
    "kind": kind(),
  }


def kind() -> str:
  """Of processor and software, on which bits depend."""
  lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  model = next((line for line in lines if line.startswith("model name")), ": unknown")
  return f"{model.partition(': ')[2]}, jaxlib {metadata.version('jaxlib')}"


def is_same(found: dict[str, Any]) -> bool:
  """False if a row of this record on such a machine has other weights."""
  known = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
  for line in map(json.loads, known):
    if (line["record"], line["kind"]) == (found["record"], found["kind"]):
      same = line["sha256"] == found["sha256"]
      what = "the same bits as" if same else "OTHER bits than"
      where = f"the row of commit {line['commit']}"
      print(f"record.py: {what} {where}", file=sys.stderr)
      return bool(same)
  print("record.py: there is no row of this record and kind yet", file=sys.stderr)
  return True


if __name__ == "__main__":
  sys.exit(main())

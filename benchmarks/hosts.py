"""Bytes that hosts read from their disks in a pass, each with its share of a data set.

  python benchmarks/hosts.py --work DIR [--gb 16]

Packs the sample photos as often as makes so many GB, each with comments of a megabyte:
what is read counts here, and comments are not decoded. Then reads one pass of the
training loader as 1, 2, 3 and 4 hosts, one host after another, in a process of its own
and with nothing of the shards in the page cache. Prints a JSON row for each number of
hosts: `gb` of the data set, `read_gb` of all hosts as the kernel counts them, their
ratio, and the ratio of the host that read most to an equal share. Minutes.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from im21k.dataset.manifest import Manifest
from im21k.loading.train import TrainLoader
from im21k.packing.pack import pack

ROOT = Path(__file__).parents[1]
_COMMENT = 0xFFFE.to_bytes(2, "big") + (1 << 15).to_bytes(2, "big")  # its length
COMMENTS = 32 * (_COMMENT + b" " * ((1 << 15) - 2))
BATCH = 96  # which 1, 2, 3 and 4 hosts divide


def main() -> None:
  """Prints rows; as one host, what that host has read."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--work", type=Path, required=True)
  parser.add_argument("--gb", type=float, default=16.0)
  parser.add_argument("--host", type=int, help=argparse.SUPPRESS)
  parser.add_argument("--hosts", type=int, help=argparse.SUPPRESS)
  given = parser.parse_args()
  data = given.work / "packed"
  if given.host is not None:
    print(read(data, given.host, given.hosts))
    return
  if not (data / "manifest.json").exists():
    pack(copies(given.work / "photos", given.gb), data, eval_per_class=0)
  size = sum(shard.bytes for shard in Manifest.load(data).splits["train"])
  for hosts in (1, 2, 3, 4):
    found = [ask(given.work, host, hosts) for host in range(hosts)]
    row = {
      "table": "hosts-reading",
      "hosts": hosts,
      "gb": round(size / 1e9, 3),
      "read_gb": round(sum(found) / 1e9, 3),
      "ratio": round(sum(found) / size, 4),
      "most": round(max(found) * hosts / size, 4),
    }
    print(json.dumps(row), flush=True)


def copies(folder: Path, gb: float) -> Path:
  """Links to the sample photos, with comments, as often as makes so many GB."""
  photos = []
  for photo in sorted((ROOT / "data/sample_photos").glob("n*/*.jpg")):
    heavy = folder.with_name("heavy") / photo.relative_to(photo.parents[1])
    heavy.parent.mkdir(parents=True, exist_ok=True)
    content = photo.read_bytes()
    heavy.write_bytes(content[:2] + COMMENTS + content[2:])  # Behind the first marker.
    photos.append(heavy)
  times = round(gb * 1e9 / sum(photo.stat().st_size for photo in photos))
  for photo in photos:
    there = folder / photo.parent.name
    there.mkdir(parents=True, exist_ok=True)
    for number in range(times):
      place = there / f"{photo.stem}_{number}{photo.suffix}"
      if not place.exists():
        os.link(photo, place)
  return folder


def ask(work: Path, host: int, hosts: int) -> int:
  """Bytes that a process of its own reads as one of the hosts."""
  for shard in (work / "packed").glob("*.array_record"):
    with shard.open("rb") as file:
      os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
  command = [sys.executable, __file__, f"--work={work}"]
  command += [f"--host={host}", f"--hosts={hosts}"]
  done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
  return int(done.stdout)


def read(data: Path, host: int, hosts: int) -> int:
  """Reads one pass as a host; the bytes that came from the disk meanwhile."""
  before = from_disk()
  loader = TrainLoader(
    data, batch_size=BATCH, host=host, hosts=hosts, image_size=32, workers=0
  )
  batches = loader.iter_from(0)
  for _ in range(loader.count // BATCH):
    next(batches)
  batches.close()
  return from_disk() - before


def from_disk() -> int:
  """Bytes that this process has had the kernel read from a disk."""
  lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
  return int(dict(line.split(": ") for line in lines)["read_bytes"])


if __name__ == "__main__":
  main()

"""Seeks of the external shuffle, as one disk would see them: a JSON row.

    python benchmarks/pack_seeks.py [--gb 5] [--folder runs/pack_seeks]

Makes a tar of tars of photos on disk, packs it with two workers under strace, and goes
through what they read and wrote in the order of time. A call that does not start
within 1 MB of the end of the one before, or reads another file, is a seek of 9 ms;
bytes take 1/170 µs each. `over_sequential` compares with reading once, writing twice
and reading once without a seek. `imagenet` is the same for 1.3 TB by the formula that
chooses the memory: seeks of the runs' parts, and of readers and writers in turn.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg

from im21k import synsets
from im21k.packing import estimate
from im21k.packing.shard_plan import default_shards
from im21k.photos import tar_input

NEAR, CLASSES, PHOTO = 1 << 20, 100, 110_000
CALLS = "openat,close,read,readv,pread64,write,writev,pwrite64,lseek,dup,dup2"
_LINE = re.compile(r"(\d+) +([\d.]+) (.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")


def make_tar(path: Path, size: int) -> None:
  """A tar of 100 tars of photos of 110 kB, no two alike."""
  pixels = np.random.default_rng(0).integers(0, 256, (250, 300, 3), np.uint8)
  jpeg = simplejpeg.encode_jpeg(pixels, 90)
  jpeg = jpeg[:-2] + b"\0" * max(0, PHOTO - len(jpeg)) + jpeg[-2:]
  names = synsets.imagenet21k().synsets[:CLASSES]
  each = size // CLASSES // (len(jpeg) + 1024)
  with tarfile.open(path, "w") as outer:
    for synset in names:
      inner = io.BytesIO()
      with tarfile.open(fileobj=inner, mode="w") as tar:
        for i in range(each):
          comment = b"\xff\xfe\x00\x10%s%05d" % (synset.encode(), i)
          _add(tar, f"{synset}_{i}.JPEG", jpeg[:2] + comment + jpeg[2:])
      _add(outer, f"{synset}.tar", inner.getvalue())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
  info = tarfile.TarInfo(name)
  info.size = len(data)
  tar.addfile(info, io.BytesIO(data))


def transfers(trace: Path, below: str) -> Iterator[tuple[str, int, int, bool]]:
  """File, place and bytes of each read and write, in the order in which they ended."""
  places: dict[tuple[str, str], int] = {}
  begun: dict[str, str] = {}
  for line in trace.open(errors="replace"):
    if not (match := _LINE.match(line)):
      continue
    process, _, text = match.groups()
    if text.endswith("<unfinished ...>\n") or text.endswith("<unfinished ...>"):
      begun[process] = text.partition("<unfinished")[0]
      continue
    if text.startswith("<..."):
      text = begun.pop(process, "") + text.partition("resumed>")[2]
    if not (call := _CALL.match(text)):
      continue
    name, arguments, result = call[1], call[2], int(call[3])
    path = re.match(r"\d+<([^>]*)>", arguments)
    if name == "openat" or not path or below not in path[1] or result < 0:
      continue
    # Threads share their process' files; strace names the path of each.
    key = (path[1], "")
    if name == "lseek":
      places[key] = result
    elif name in ("read", "readv", "write", "writev"):
      at = places.get(key, 0)
      places[key] = at + result
      if result:
        yield path[1], at, result, name.startswith("w")
    elif name in ("pread64", "pwrite64") and result:
      at = int(arguments.rpartition(",")[2])
      yield path[1], at, result, name.startswith("pw")
    elif name == "close":
      places.pop(key, None)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--gb", type=float, default=5.2)
  parser.add_argument("--folder", type=Path, default=Path("runs/pack_seeks"))
  arguments = parser.parse_args()
  folder = arguments.folder.resolve()
  folder.mkdir(parents=True)
  tar, trace = folder / "whole.tar", folder / "trace"
  try:
    make_tar(tar, int(arguments.gb * 1e9))
    pack = [sys.executable, "-m", "im21k.cli", "pack", tar, folder / "packed"]
    watched = ["strace", "-f", "-ttt", "-y", "-o", trace, "-e", f"trace={CALLS}"]
    watched += ["-s", "0", "--seccomp-bpf"]
    options = ["--check", "header", "--workers", "2"]
    subprocess.run([*watched, *pack, *options], check=True, stdout=subprocess.DEVNULL)
    print(json.dumps({**_row(trace, folder, tar), "imagenet": _imagenet()}))
  finally:
    shutil.rmtree(folder)


def _row(trace: Path, folder: Path, tar: Path) -> dict:
  seeks, read, written, end = 0, 0, 0, ("", 0)
  for path, at, count, is_write in transfers(trace, str(folder)):
    if path != end[0] or abs(at - end[1]) > NEAR:
      seeks += 1
    end = path, at + count
    read, written = read + count * (not is_write), written + count * is_write
  sequential = 4 * tar.stat().st_size / estimate.HARD_DISK
  modelled = (read + written) / estimate.HARD_DISK + seeks * estimate.SEEK
  return {
    "gb": round(tar.stat().st_size / 1e9, 2),
    "read_gb": round(read / 1e9, 2),
    "written_gb": round(written / 1e9, 2),
    "seeks": seeks,
    "over_sequential": round(modelled / sequential, 3),
  }


def _imagenet() -> dict:
  size, count = 1.3e12, default_shards(14_197_122)
  memory = estimate.memory(int(size), None, 1)
  parts = size / memory / 1e9 * count
  # Two workers at one disk: each piece that is read may follow another's.
  pieces = 2 * size / tar_input.BUFFER
  sequential = 4 * size / estimate.HARD_DISK
  seconds = sequential + (parts + pieces) * estimate.SEEK
  return {
    "memory_gb": memory,
    "seeks": round(parts + pieces),
    "over_sequential": round(seconds / sequential, 3),
  }


if __name__ == "__main__":
  main()

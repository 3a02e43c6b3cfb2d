"""Kills packing with SIGKILL at random moments; compares with an unbroken run: JSON.

A third of the kills hit the whole process group, a third the parent alone, a third one
worker; half come in the first and last moments: lock, list of the source, completion.

python benchmarks/pack_kill.py [--kills 50] [--photos 20000] [--shuffle external]
"""

import argparse
import collections
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from im21k import synsets

WHOM = ("group", "parent", "worker")
# What it says where a worker was killed, or the process that starts them.
_OF_A_WORKER = "im21k pack: (a worker process was|worker processes cannot).*\n"
# Files and folders below .packing whose appearance or disappearance is a moment.
MOMENTS = ("pack.lock", "files-", "begun.json", "complete.lock", ".writing-", "train-")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--kills", type=int, default=50)
  parser.add_argument("--photos", type=int, default=20_000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--shuffle", default="external", choices=["direct", "external"])
  parser.add_argument("--workers", type=int, default=2)
  options = parser.parse_args()
  chance = random.Random(options.seed)
  with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    _make_photos(work / "photos", options.photos)
    begin = time.perf_counter()
    _start(work, "unbroken", options).wait()
    seconds = time.perf_counter() - begin
    expected = _contents(work / "unbroken")
    killed: collections.Counter[str] = collections.Counter()
    ends, same, noise = 0, True, set()
    while killed.total() < options.kills:
      # By turns, so that the end does not come before many kills.
      if killed.total() % 2:
        moment: str | float = chance.choice(MOMENTS)
      else:
        moment = chance.uniform(0.5, 1.5 + 2.5 * seconds / options.kills)
      whom = chance.choice(WHOM)
      process = _start(work, "broken", options)
      if _wait(process, work / "broken", moment) and _kill(process, whom):
        killed[f"{whom} {'at ' + moment if isinstance(moment, str) else 'later'}"] += 1
      status = process.wait()
      error = (work / "error").read_text()
      if status == 0:  # It came to its end all the same: once more from the beginning.
        same &= _contents(work / "broken") == expected
        ends += 1
        shutil.rmtree(work / "broken")
      elif status > 0 and not re.fullmatch(_OF_A_WORKER, error):
        noise.add(error)  # A lock that is left, for example, or a traceback.
    process = _start(work, "broken", options)
    status = process.wait()
    last = _contents(work / "broken")
    row = {
      "shuffle": options.shuffle,
      "photos": options.photos,
      "kills": killed.total(),
      "of": dict(sorted(killed.items())),
      "unbroken_seconds": round(seconds, 1),
      "ends": ends + 1,
      "same_bytes": same and status == 0 and last == expected,
      "errors": sorted(noise),
      "temporary": [n for n in os.listdir(work / "broken") if n.startswith(".")],
    }
  print(json.dumps(row))


def _make_photos(root: Path, count: int) -> None:
  rng = np.random.default_rng(0)
  chosen = synsets.imagenet21k().synsets[:100]
  for synset in chosen:
    (root / synset).mkdir(parents=True)
  for i in range(count):
    jpeg = simplejpeg.encode_jpeg(rng.integers(0, 256, (32, 32, 3), np.uint8))
    (root / chosen[i % 100] / f"{i}.jpg").write_bytes(jpeg)


def _start(work: Path, name: str, options: Any) -> subprocess.Popen[bytes]:
  command = [
    *(sys.executable, "-m", "im21k.cli", "pack", work / "photos", work / name),
    *("--shards", "40", "--workers", str(options.workers)),
    *("--shuffle", options.shuffle),
  ]
  if options.shuffle == "external":
    command += ["--memory", "0.002"]
  with (work / "error").open("wb") as error:
    return subprocess.Popen(
      command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=error
    )


def _wait(process: subprocess.Popen[bytes], out: Path, moment: str | float) -> bool:
  """Waits for a moment; False if the process ends before it."""
  if isinstance(moment, float):
    try:
      process.wait(moment)
    except subprocess.TimeoutExpired:
      return True
    return False
  before = _names(out, moment)
  while process.poll() is None:
    if _names(out, moment) - before:
      return True
  return False


def _names(out: Path, moment: str) -> set[str]:
  try:
    return {name for name in os.listdir(out / ".packing") if name.startswith(moment)}
  except OSError:
    return set()


def _kill(process: subprocess.Popen[bytes], whom: str) -> bool:
  """Kills; True if there was somebody to kill."""
  try:
    if whom == "worker":
      os.kill(max(_below(process.pid)), signal.SIGKILL)
      return True
    (os.killpg if whom == "group" else os.kill)(process.pid, signal.SIGKILL)
  except (ProcessLookupError, ValueError):
    return False
  return process.wait() < 0


def _below(parent: int) -> set[int]:
  """The processes of a session but its first."""
  listed = subprocess.run(
    ["ps", "-eo", "pid=,sess="], capture_output=True, text=True, check=True
  )
  rows = (map(int, line.split()) for line in listed.stdout.splitlines())
  return {pid for pid, session in rows if session == parent} - {parent}


def _contents(folder: Path) -> dict[str, str]:
  return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


if __name__ == "__main__":
  main()

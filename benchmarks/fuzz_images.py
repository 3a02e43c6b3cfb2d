"""Pictures of every format, damaged in a structured way, through every verb's decoder.

A child process takes small sound pictures (`kinds` and `rare_kinds` of tests/photos),
changes them (bits, lengths, sizes, segments and chunks, parts of others, with checksums
set right), and gives them to what prediction, packing, verification, training and pages
decode with. A finding is whatever else than `ImageError` or `Rejected` comes out, more
than 10 s of processor time or 1 GiB of memory above what the process began with, a
signal, or verbs that disagree: packing and prediction accept the same files, with
pixels of the same size, and any crop that training cuts of what was packed is that of
the whole. Findings are written to `--findings`, and this program ends with status 1.

  PYTHONPATH=. python benchmarks/fuzz_images.py --seconds 60

Columns: executions; executions_per_second; accepted: share of the pictures that
were sound after all; slowest_s: processor time of one picture; peak_mib: memory at its
highest above the beginning; findings: files.
"""

import argparse
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path

_SECONDS, _MIB = 10, 1024
_ROOT = Path(__file__).resolve().parent.parent
_NUMBERS = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def main() -> int:
  """Fuzzes for the seconds given, prints a JSON row; 1 if there are findings."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--seconds", type=int, default=60)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
  parser.add_argument(
    "--replay", type=Path, nargs="*", help="files to try by themselves"
  )
  parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
  given = parser.parse_args()
  given.findings.mkdir(parents=True, exist_ok=True)
  if given.child:
    _child(given.seconds, given.seed, given.findings)
    return 0
  if given.replay:
    tries = _Tries()
    for path in given.replay:
      print(
        path, tries.fault(path.read_bytes(), random.Random(0)) or "sound or refused"
      )
    return 0
  row = _parent(given.seconds, given.seed, given.findings)
  print(json.dumps(row))
  return int(bool(row["findings"]))


def _parent(seconds: int, seed: int, findings: Path) -> dict:
  """Runs children one after another; one that dies has found something."""
  end = time.monotonic() + seconds
  rows: list[dict] = []
  dead: list[str] = []
  while (left := end - time.monotonic()) > 1:
    command = [
      sys.executable, __file__, "--child", "--seconds", str(int(left)),
      "--seed", str(seed + len(dead)), "--findings", str(findings),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
      rows.append(json.loads(done.stdout.splitlines()[-1]))
      break
    if done.returncode > 0:
      raise RuntimeError(f"the fuzzer itself failed:\n{done.stderr[-3000:]}")
    name = findings / f"images-died-{seed}-{len(dead)}"
    (findings / "current").replace(name)
    print(f"{name}: died with {done.returncode}: {done.stderr[-500:]}", file=sys.stderr)
    dead.append(str(name))
  count = sum(row["executions"] for row in rows)
  return {
    "table": "fuzz-images",
    "executions": count,
    "executions_per_second": round(count / max(1, seconds)),
    "accepted": round(sum(row["accepted"] for row in rows) / max(1, count), 2),
    "slowest_s": max((row["slowest_s"] for row in rows), default=0),
    "peak_mib": max((row["peak_mib"] for row in rows), default=0),
    "findings": sum(row["findings"] for row in rows) + len(dead),
  }


def _child(seconds: int, seed: int, findings: Path) -> None:
  sys.path.insert(0, str(_ROOT / "tests" / "photos"))
  from kinds import KINDS
  from rare_kinds import RARE, REFUSED

  tries, rng, seeds = _Tries(), random.Random(seed), list(KINDS.values())
  seeds += [data for data, _ in RARE.values()]
  seeds += [data for data, _, _ in REFUSED.values() if data]
  for data in seeds:  # Also loads every decoder before memory is measured.
    if fault := tries.fault(data, rng):
      raise AssertionError(fault)
  size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (size + (_MIB << 20),) * 2)
  base, tries.accepted = _peak(), 0
  count = found = 0
  slowest, end = 0.0, time.monotonic() + seconds
  while time.monotonic() < end:
    data = changed(rng.choice(seeds), seeds, rng)
    (findings / "current").write_bytes(data)
    # Ends the process, whatever the decoder is at.
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    began = time.process_time()
    fault = tries.fault(data, rng)
    slowest = max(slowest, time.process_time() - began)
    count += 1
    if fault:
      name = findings / f"images-{zlib.crc32(data):08x}"
      name.write_bytes(data)
      print(f"{name}: {fault}", file=sys.stderr, flush=True)
      with (findings / "log").open("a") as log:
        log.write(f"{name}: {fault}\n")
      found += 1
  signal.setitimer(signal.ITIMER_PROF, 0)
  row = {"executions": count, "accepted": tries.accepted, "findings": found}
  peak = round((_peak() - base) / 1024)
  print(json.dumps({**row, "slowest_s": round(slowest, 2), "peak_mib": peak}))


def _peak() -> int:
  """Resident memory at its highest, KiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _Tries:
  """Every verb's way from bytes to pixels, held against each other."""

  def __init__(self) -> None:
    from im21k.packing import repair
    from im21k.pages import figures
    from im21k.photos import images, jpeg_crop

    self.accepted = 0
    self._repair, self._images, self._figures = repair, images, figures
    self._box, self._decoder = jpeg_crop.Box, jpeg_crop.Decoder()

  def fault(self, data: bytes, rng: random.Random) -> str | None:
    """What is wrong with how a picture is treated; None if all is well."""
    with warnings.catch_warnings():
      warnings.simplefilter("error" if rng.random() < 0.1 else "ignore")
      try:
        return self._fault(data, rng)
      except Exception:
        return traceback.format_exc()

  def _fault(self, data: bytes, rng: random.Random) -> str | None:
    images, repair = self._images, self._repair
    resize = rng.choice((None, None, 24))
    pixels = packed = None
    refused = rejected = ""
    try:
      pixels = images.decode(data)
    except images.ImageError as error:
      refused = f"{error.kind}: {error}"
    try:
      packed, _ = repair.prepare(data, repair.Rules(resize=resize))
    except repair.Rejected as error:
      rejected = f"{error.kind}: {error}"
    if "not enough memory" in refused + rejected:
      return f"over {_MIB} MiB"
    if rejected.startswith("too small"):
      return None
    if (pixels is None) != (packed is None):
      return f"predicted: {refused or 'yes'}; packed: {rejected or 'yes'}"
    if refused.partition(":")[0] != rejected.partition(":")[0]:
      return f"predicted: {refused}; packed: {rejected}"
    if pixels is None or packed is None:
      return self._refused_in_training(data)
    self.accepted += 1
    self._figures.thumbnail(pixels)
    images.check_jpeg(packed)
    self._decoder.check(packed)
    if not resize and images.decode(packed).shape != pixels.shape:
      return "packed in another size"
    return self._other_crop(packed, rng) or self._other_crop(data, rng)

  def _refused_in_training(self, data: bytes) -> str | None:
    """Training may find damage later, or step over it, but raises nothing else."""
    try:
      height, width = self._decoder.open(data)
      self._decoder.crop(self._box(0, 0, min(height, 64), width), least=32)
    except self._images.ImageError:
      pass
    return None

  def _other_crop(self, data: bytes, rng: random.Random) -> str | None:
    whole = self._images.decode(data)
    if self._decoder.open(data) != whole.shape[:2]:
      return "training sees another size"
    for _ in range(3):
      h, w = (rng.randint(1, n) for n in whole.shape[:2])
      top, left = rng.randint(0, whole.shape[0] - h), rng.randint(0, whole.shape[1] - w)
      part = self._decoder.crop(self._box(top, left, h, w), least=10**6)
      if not (part == whole[top : top + h, left : left + w]).all():
        return f"training sees other pixels at {top, left, h, w}"
    self._decoder.crop(self._box(0, 0, *whole.shape[:2]), least=4)
    return None


def changed(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
  """A picture with one to four changes; PNG's checksums are often set right."""
  changes = (_flip, _number, _cut, _repeat, _splice, _size, _parts, _parts, _marker)
  for _ in range(rng.randint(1, 4)):
    if not data:
      break
    data = rng.choice(changes)(data, others, rng)
  if data.startswith(b"\x89PNG") and rng.random() < 0.8:
    data = _joined(data, _chunks(data), True)
  return data[: 1 << 20]


def _flip(data, others, rng):
  data = bytearray(data)
  # Headers are short, and most of what matters is in them.
  span = len(data) if rng.random() < 0.5 else min(len(data), 200)
  for _ in range(rng.randint(1, 6)):
    at = rng.randrange(span)
    data[at] = rng.choice(
      (data[at] ^ 1 << rng.randrange(8), rng.randrange(256), 255, 0)
    )
  return bytes(data)


def _number(data, others, rng):
  """A length, a count or an offset of two or four bytes."""
  at, kind = rng.randrange(min(len(data), 4000)), rng.choice((">H", "<H", ">I", "<I"))
  number = rng.choice((*_NUMBERS, len(data), rng.randrange(1 << 16)))
  new = struct.pack(kind, number & (0xFFFF if kind[1] == "H" else 0xFFFFFFFF))
  return data[:at] + new + data[at + len(new) :]


def _cut(data, others, rng):
  start = rng.randrange(len(data))
  return data[:start] + data[start + rng.choice((1, 2, 16, 500, len(data))) :]


def _repeat(data, others, rng):
  start = rng.randrange(len(data))
  part = data[start : start + rng.choice((1, 4, 64, 1000))]
  return data[:start] + part * rng.choice((2, 3, 50)) + data[start + len(part) :]


def _splice(data, others, rng):
  other = rng.choice(others)
  cut, start = rng.randrange(len(data)), rng.randrange(len(other))
  return data[:cut] + other[start:] + (data[cut:] if rng.random() < 0.3 else b"")


def _size(data, others, rng):
  """Height or width, wherever the numbers are."""
  number = rng.choice((60, 80, 59, 77, 200, 320))
  new = rng.choice((0, 1, 2, 3, 5, 9, 61, 8191, 16384, 65499, 65501, 65535))
  for kind in rng.sample((">H", "<H", ">I", "<I"), 4):
    old = struct.pack(kind, number)
    if old in data:
      return data.replace(old, struct.pack(kind, new), rng.choice((1, 2)))
  return data


def _parts(data, others, rng):
  """Segments or chunks repeated, left out, exchanged, or taken from another file."""
  parts = _chunks(data)
  if len(parts) < 2:
    return _flip(data, others, rng)
  same = [o for o in others if o[:4] == data[:4]] or [data]
  foreign = _chunks(rng.choice(same)) or parts
  at, to = rng.randrange(len(parts)), rng.randrange(len(parts))
  kind = rng.randrange(5)
  if kind == 0:
    parts.insert(to, parts[at])
  elif kind == 1:
    del parts[at]
  elif kind == 2:
    parts[at], parts[to] = parts[to], parts[at]
  elif kind == 3:
    parts.insert(to, rng.choice(foreign))
  else:
    parts[at] = _flip(parts[at] or b"?", others, rng)
  return _joined(data, parts, rng.random() < 0.8)


def _marker(data, others, rng):
  """JPEG's: a scan, a frame of another coding, restarts, an end, fill bytes."""
  if not data.startswith(b"\xff\xd8"):
    return _number(data, others, rng)
  if rng.random() < 0.4:
    old = bytes((0xFF, rng.choice((0xC0, 0xC2))))
    return data.replace(old, bytes((0xFF, rng.choice((*range(0xC0, 0xD0),)))), 1)
  at = rng.randrange(2, len(data) + 1)
  new = rng.choice(
    (b"\xff\xd9", b"\xff\xd0", b"\xff" * 9, b"\xff\xda\0\x08\1\1\0\0\x3f\0")
  )
  return data[:at] + new * rng.choice((1, 1, 1, 200)) + data[at:]


def _chunks(data: bytes) -> list[bytes]:
  """The segments of a JPEG, the chunks of a PNG or WebP, else nothing."""
  parts, at = [], 0
  if data.startswith(b"\xff\xd8"):
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
      size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
      parts.append(data[at : at + size])
      at += size
    parts.append(data[at:])
  elif data.startswith(b"\x89PNG"):
    at = 8
    while at + 8 <= len(data):
      size = 12 + int.from_bytes(data[at : at + 4], "big")
      parts.append(data[at : at + size])
      at += size
  elif data.startswith(b"RIFF"):
    at = 12
    while at + 8 <= len(data):
      size = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
      parts.append(data[at : at + size + size % 2])
      at += size + size % 2
  return parts


def _joined(data: bytes, parts: list[bytes], right: bool) -> bytes:
  """The parts behind the file's beginning, with lengths and checksums set right."""
  if data.startswith(b"\xff\xd8"):
    return data[:2] + b"".join(parts)
  if data.startswith(b"\x89PNG"):
    if right:
      parts = [
        struct.pack(">I", max(0, len(p) - 12)) + p[4:-4]
        + struct.pack(">I", zlib.crc32(p[4:-4]))
        for p in parts
      ]  # fmt: skip
    return data[:8] + b"".join(parts)
  body = b"WEBP" + b"".join(parts)
  return b"RIFF" + struct.pack("<I", len(body)) + body


if __name__ == "__main__":
  os.environ.setdefault("OMP_NUM_THREADS", "1")
  sys.exit(main())

"""Readers of other people's files under a fuzzer that follows their branches.

Each reader of `im21k.interop` gets files that atheris (libFuzzer) makes. It may return
or raise a ValueError that names the file; any other exception, a file that takes
longer than 5 s, or more than 512 MiB of memory is a finding: the input is written to
`--findings` and this program ends with status 1.

  python -m venv fuzz
  fuzz/bin/pip install atheris numpy
  PYTHONPATH=. fuzz/bin/python benchmarks/fuzz_interop.py --seconds 120

Columns: reader; seconds asked for; executions; executions_per_second; peak_mib:
resident memory at its highest, about 60 of it the fuzzer's own; findings: files.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

READERS = ("params", "rec", "idx", "lst")
_SECONDS_A_FILE, _MIB = 5, 512
_MAGIC = 0xCED7230A


def main() -> int:
  """Fuzzes the readers one after another, a JSON row each; 1 if there are findings."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--seconds", type=int, default=60, help="for each reader")
  parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
  parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS)
  parser.add_argument("--worker", choices=READERS, help=argparse.SUPPRESS)
  given, libfuzzer = parser.parse_known_args()
  if given.worker:
    _fuzz(given.worker, libfuzzer)
    return 0
  try:
    import atheris  # noqa: F401
  except ImportError:
    print(
      "atheris is not installed, and im21k does not need it elsewhere: make an "
      "environment for it as the head of this file says",
      file=sys.stderr,
    )
    return 2
  rows = [_row(name, given.seconds, given.findings) for name in given.readers]
  return int(any(row["findings"] for row in rows))


def _row(name: str, seconds: int, findings: Path) -> dict:
  """Fuzzes one reader in a process of its own, which a finding ends."""
  findings.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory() as corpus:
    for index, seed in enumerate(_seeds(name)):
      Path(corpus, str(index)).write_bytes(seed)
    command = [
      sys.executable, __file__, "--worker", name, corpus,
      f"-max_total_time={seconds}", f"-timeout={_SECONDS_A_FILE}",
      f"-rss_limit_mb={_MIB}", "-max_len=4096", "-print_final_stats=1",
      f"-artifact_prefix={findings}/{name}-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
  log = done.stdout + done.stderr
  stat = {
    key: int(value) for key, value in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)
  }
  found = re.findall(r"Test unit written to (\S+)", log)
  if (done.returncode and not found) or "number_of_executed_units" not in stat:
    raise RuntimeError(f"the fuzzer ended with {done.returncode}:\n{log[-3000:]}")
  if found:
    print(log[-3000:], file=sys.stderr)
  row = {
    "reader": name,
    "seconds": seconds,
    "executions": stat["number_of_executed_units"],
    "executions_per_second": stat["average_exec_per_sec"],
    "peak_mib": stat["peak_rss_mb"],
    "findings": found,
  }
  print(json.dumps(row), flush=True)
  return row


def _fuzz(name: str, libfuzzer: list[str]) -> None:
  import atheris

  with atheris.instrument_imports(include=["im21k.interop"]):
    from im21k.interop import lists, params, recordio

  def rec(path: Path) -> None:
    for offset, data in recordio.read(path):
      if recordio.read_at(path, offset) != data:
        raise AssertionError(f"the record at byte {offset} is two")
      try:
        recordio.unpack(data)
      except ValueError as error:
        # `unpack` sees bytes, not a file.
        if "record of" not in str(error):
          raise AssertionError("an error of unpack without its reason") from error

  readers = {
    "params": params.read,
    "rec": rec,
    "idx": recordio.read_index,
    "lst": lambda path: list(lists.read(path)),
  }
  read = readers[name]
  with tempfile.TemporaryDirectory(dir=_memory()) as folder:
    path = Path(folder, f"file.{name}")

    def one(data: bytes) -> None:
      path.write_bytes(data)
      try:
        read(path)
      except ValueError as error:
        # UnicodeDecodeError, say, is a ValueError too, but tells no place.
        if type(error) is not ValueError or not str(error).startswith(str(path)):
          raise AssertionError(f"not the documented error: {error!r}") from error

    atheris.Setup([sys.argv[0], *libfuzzer], one)
    atheris.Fuzz()


def _memory() -> str | None:
  """A folder in memory, where there is one: millions of small files are written."""
  return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _seeds(name: str) -> list[bytes]:
  """Small sound files to begin with."""
  if name == "params":
    head, tail = struct.pack("<QQQ", 0x112, 0, 1), struct.pack("<QQ", 1, 1) + b"w"
    data = struct.pack("<2f", 1, 2)
    kind = struct.pack("<iii", 1, 0, 0)
    arrays = [
      struct.pack("<II", 1, 2),  # V0
      struct.pack("<IIq", 0xF993FAC8, 1, 2),
      struct.pack("<Iiiq", 0xF993FAC9, 0, 1, 2),
      struct.pack("<Iiiq", 0xF993FACA, 0, 1, 2),
    ]
    return [head + array + kind + data + tail for array in arrays]
  if name == "rec":
    image = struct.pack("<IfQQ", 2, 0, 7, 0) + struct.pack("<2f", 1, 2) + b"jpeg"
    whole = struct.pack("<II", _MAGIC, len(image)) + image
    parts = b"".join(
      struct.pack("<II", _MAGIC, part << 29 | 4) + b"abcd" for part in (1, 2, 3)
    )
    return [whole, parts, whole + parts]
  if name == "idx":
    return [b"0\t0\n1\t40\n2\t100\n"]
  return [b"0\t5.0\ta/b.jpg\n1\t1\t2\t3\tc.jpg\n"]


if __name__ == "__main__":
  sys.exit(main())

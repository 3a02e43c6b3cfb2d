"""Runs a reader on damaged files in a child process with bounds on time and memory.

The driver of `fuzz_formats.py`, `fuzz_images.py` and `fuzz_records.py`:

  KINDS = {"tar": (make_case, check), ...}       # functions at the top of a module
  if __name__ == "__main__":
    sys.exit(fuzzing.main(KINDS, __doc__))       # --seconds --seed --kinds --only

or, for one kind, `row = fuzzing.run(name, make_case, check, seconds, seed)`.

  make_case(random, folder) -> case   writes the damaged files of one case into an empty
                                      folder, with all chance from `random`; what it
                                      returns is given to `check` and printed with a
                                      finding
  check(case, folder) -> str          reads them; returns the outcome to be counted
                                      ("read", "refused"), and raises whatever is wrong:
                                      `expect` refuses wrong answers, and an exception
                                      that the reader should not raise just passes

A finding is an exception from `check`, a case that takes more than `LIMIT_S` seconds of
processor time (or six times that by the clock: a pipe that nobody writes to), more than
`MIB` of memory above what the process has after its imports (so that MemoryError is a
finding too), or a child that dies. The files of a finding are kept in `runs/fuzz/`;
`--only INDEX` makes and checks one case again, in this process.

Columns: reader; seconds asked for; seed; executions; executions_per_second; outcomes;
peak_mib: memory that the worst case added; slowest_s: processor time of the slowest
case; findings.
"""

import argparse
import contextlib
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import limits

LIMIT_S, MIB = 10, 1024
MakeCase = Callable[[random.Random, Path], Any]
Check = Callable[[Any, Path], str]
_START_S, _WARM_UP_MIB = 120, 16 << 10
_MOST_FINDINGS = 20
_FINDINGS = Path("runs/fuzz")


class Finding(Exception):
  """A wrong answer, or an error that no reader documents."""


def expect(sound: object, message: str) -> None:
  """Raises Finding unless `sound`."""
  if not sound:
    raise Finding(message)


def refused(error: Exception, *names: str | Path) -> str:
  """ "refused" for a one-line error that contains one of `names`; else Finding."""
  text = str(error)
  expect(text and "\n" not in text and text.isprintable(), f"not one line: {error!r}")
  expect(len(text) < 2000, f"{len(text)} characters: {text[:200]!r}")
  expect(not names or any(str(n) in text for n in names), f"names no file: {error!r}")
  return "refused"


def main(kinds: Mapping[str, tuple[MakeCase, Check]], description: str) -> int:
  """The command line of a fuzzer: a JSON row for each kind; 1 if there are findings."""
  parser = argparse.ArgumentParser(description=description.partition("\n")[0])
  parser.add_argument("--seconds", type=float, default=60, help="for each kind")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--kinds", nargs="+", choices=kinds, default=list(kinds))
  parser.add_argument("--only", type=int, help="check this one case, in this process")
  given = parser.parse_args()
  found = 0
  for name in given.kinds:
    if given.only is not None:
      print(name, once(name, *kinds[name], given.seed, given.only))
      continue
    row = run(name, *kinds[name], given.seconds, given.seed)
    print(json.dumps(row), flush=True)
    found += row["findings"]
  return int(bool(found))


def run(
  name: str, make_case: MakeCase, check: Check, seconds: float, seed: int
) -> dict[str, Any]:
  """Checks cases for some seconds and returns a row; findings go to standard error."""
  totals: Counter[str] = Counter()
  worst = {"peak_mib": 0, "slowest_s": 0.0}
  findings, index = 0, 0
  left = seconds
  with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
    while left > 0 and findings < _MOST_FINDINGS:
      child = _Child(name, make_case, check, seed, index, Path(scratch))
      try:
        for done in child.cases(left):
          index = done["index"] + 1
          totals[done["outcome"]] += 1
          for key in worst:
            worst[key] = max(worst[key], done.get(key, 0))
          if done["outcome"] == "finding":
            findings += 1
            _keep(name, seed, done, Path(scratch))
            break  # A fresh child: what this one has in memory is not trusted.
      finally:
        left -= child.used()
        child.end()
  return {
    "reader": name, "seconds": seconds, "seed": seed, "executions": totals.total(),
    "executions_per_second": round(totals.total() / max(seconds, 1), 1),
    "outcomes": dict(totals), **worst, "findings": findings,
  }  # fmt: skip


def once(name: str, make_case: MakeCase, check: Check, seed: int, index: int) -> str:
  """Makes and checks one case in this process, without bounds."""
  with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
    case = make_case(_random(name, seed, index), Path(scratch))
    print(case)
    return check(case, Path(scratch))


class _Child:
  """A process that checks cases one after another, under a watchdog."""

  def __init__(
    self, name: str, make_case: MakeCase, check: Check, seed: int, first: int,
    scratch: Path,
  ):  # fmt: skip
    spawn = multiprocessing.get_context("spawn")  # Forking after import jax may hang.
    self.pipe, theirs = spawn.Pipe()
    self.next, self.began = first, 0.0
    self.process = spawn.Process(
      target=_work,
      args=(name, make_case, check, seed, first, scratch, theirs), daemon=True,
    )  # fmt: skip
    self.process.start()
    theirs.close()

  def cases(self, seconds: float) -> Iterator[dict[str, Any]]:
    """The result of each case for so long after the start, or until a finding."""
    if done := self._answer(_START_S):
      yield done
    self.began = time.monotonic()
    while self.used() < seconds:
      self.pipe.send("next")
      if done := self._answer(LIMIT_S):
        self.next += 1
        yield done

  def used(self) -> float:
    """Seconds since the first case."""
    return time.monotonic() - self.began if self.began else 0.0

  def _answer(self, limit: float) -> dict[str, Any] | None:
    """What the child sends, None at its start; a finding if it sends nothing."""
    began, processor = time.monotonic(), limits.processor_s(self.process.pid)
    while not self.pipe.poll(0.25):
      used = limits.processor_s(self.process.pid) - processor
      if used > limit or time.monotonic() - began > 6 * limit:
        return self._finding(f"still not done after {used:.1f} s of processor time")
    try:
      sent: dict[str, Any] | None = self.pipe.recv()
      return sent
    except EOFError:
      self.process.join()
      return self._finding(f"the process died with {self.process.exitcode}")

  def _finding(self, what: str) -> dict[str, Any]:
    """A case of which the child itself can say nothing."""
    return {"index": self.next, "outcome": "finding", "what": what, "case": None}

  def end(self) -> None:
    """Stops the process, whatever it is at."""
    self.process.kill()
    self.process.join()
    self.pipe.close()


def _work(
  name: str, make_case: MakeCase, check: Check, seed: int, index: int, scratch: Path,
  pipe: Connection,
) -> None:  # fmt: skip
  """The child: a warm-up with room to spare, then a case for each word of the pipe."""
  folder = scratch / "case"
  limits.bound_memory(_WARM_UP_MIB)
  with contextlib.suppress(Exception):  # The case comes again.
    # Imports, compilation, and the sound files that others are made from.
    check(_make(name, make_case, seed, index, folder), folder)
  limits.bound_memory(MIB)
  pipe.send(None)
  while pipe.recv() == "next":
    before = limits.reset_peak()
    began = time.process_time()
    done: dict[str, Any] = {"index": index}
    case = None
    try:
      case = _make(name, make_case, seed, index, folder)
      done["outcome"] = check(case, folder)
    except BaseException as error:
      done |= {"outcome": "finding", "what": repr(error)[:500], "case": repr(case)}
      done["trace"] = traceback.format_exc(limit=-12)[-4000:]
    done["slowest_s"] = round(time.process_time() - began, 3)
    done["peak_mib"] = max(0, limits.status_kib("VmHWM") - before) >> 10
    pipe.send(done)
    index += 1


def _make(name: str, make_case: MakeCase, seed: int, index: int, folder: Path) -> Any:
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  return make_case(_random(name, seed, index), folder)


def _random(name: str, seed: int, index: int) -> random.Random:
  return random.Random(f"{name} {seed} {index}")


def _keep(name: str, seed: int, done: dict[str, Any], scratch: Path) -> None:
  """Prints a finding and keeps its files."""
  kept = _FINDINGS / f"{name}-{seed}-{done['index']}"
  if (scratch / "case").exists():
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(scratch / "case", kept, symlinks=True)
  print(
    f"{kept}: {done['what']}\n  {done['case']}\n{done.get('trace', '')}",
    file=sys.stderr,
  )


def _memory() -> str | None:
  """A folder in memory, where there is one: many small files are written."""
  return "/dev/shm" if Path("/dev/shm").is_dir() else None

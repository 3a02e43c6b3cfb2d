"""Kills a run with SIGKILL in each of its phases; its end must be as if unbroken.

  python benchmarks/kill_restart.py [--kills 20] [--seed 0] [--phases steps,saving]
      [--modern] [--hosts 2]

Prints one JSON row: kills by phase, the step of the newest checkpoint after each, and
whether the final weights are the same bytes and the rows of metrics the same numbers,
apart from times. Packs the sample photos and trains a narrow Inception-BN on four
devices; 20 kills take half an hour on two cores. With `--modern` all together that the
recipe of 2015 did not have: Muon, batches in parts, photos and batches that grow in the
middle, alternating flips, smoothed labels, an average of weights, recalibration. With
`--hosts` on so many hosts of this machine that share the four devices: one of them, by
chance, is killed, and the others must end by themselves; `ended_s` says how long that
took at most, with a heartbeat of `_HEARTBEAT` seconds.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from im21k.packing.pack import pack

ROOT = Path(__file__).parent.parent
PHASES = ("start", "compilation", "steps", "evaluation", "saving", "export")
# Rows, checkpoints and evaluations, in steps; a kill costs at most an evaluation's.
_LOG, _SAVE, _EVAL = 2, 4, 12
_DEVICES = 4
_HEARTBEAT = 20  # seconds
_TIMES = (
  "images_per_s", "data_wait_share", "peak_device_mib", "peak_host_mib", "time",
  "train_secs", "eval_secs",
)  # fmt: skip


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--kills", type=int, default=20)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--phases", default=",".join(PHASES))
  parser.add_argument("--modern", action="store_true")
  parser.add_argument("--hosts", type=int, choices=(1, 2, 4), default=1)
  options = parser.parse_args()
  phases = options.phases.split(",")
  if unknown := set(phases) - set(PHASES):
    parser.error(f"unknown phases {sorted(unknown)}; known: {', '.join(PHASES)}")
  chance = random.Random(options.seed)
  planned = [phases[i % len(phases)] for i in range(options.kills)]
  chance.shuffle(planned)
  planned.sort(key=lambda phase: phase == "export")  # It comes last.
  begun = time.monotonic()
  with tempfile.TemporaryDirectory() as folder:
    total = 2 * _EVAL + _EVAL * options.kills
    settings = modern(total) if options.modern else {}
    bench = Bench(Path(folder), total, settings, options.hosts)
    pack(ROOT / "data" / "sample_photos", bench.photos, eval_per_class=1)
    bench.unbroken()
    kills = [bench.kill(phase, chance) for phase in planned]
    bench.run("broken")
    unbroken, broken = bench.bytes_of("unbroken"), bench.bytes_of("broken")
    row = {
      "task": "kill_restart_modern" if options.modern else "kill_restart",
      "hosts": options.hosts,
      "kills": sum(kill is not None for kill, _ in kills),
      "phases": {p: sum(kill == p for kill, _ in kills) for p in phases},
      "missed": len(kills) - sum(kill is not None for kill, _ in kills),
      "steps": bench.total,
      "checkpoints": [step for _, step in kills],
      "same_bits": unbroken == broken,
      "other_files": [
        name
        for name in {**unbroken, **broken}
        if unbroken.get(name) != broken.get(name)
      ],
      "same_rows": bench.rows_of("unbroken") == bench.rows_of("broken"),
      "locks_left": [str(path) for path in bench.broken.glob(".lock*")],
      "ended_s": round(max(bench.ended, default=0), 1),
      "killed_hosts": bench.killed,
      "minutes": round((time.monotonic() - begun) / 60, 1),
    }
  print(json.dumps(row))
  # A lock's file may stay, without a lock, if the last kill was in the export.
  good = row["same_bits"] and row["same_rows"]
  sys.exit(not good or row["missed"] > 0)


def modern(total: int) -> dict[str, object]:
  """Settings of a recipe with many parts, whose phase ends in the middle."""
  return {
    "optimizer.name": "muon", "schedule.peak": 0.005, "accumulate": 2,
    "phases.image_sizes": 32, "phases.batch_sizes": 8, "phases.until.steps": total // 2,
    "image_size": 40, "eval_size": 48, "augment.crop": "inception",
    "augment.area": "0.25,1", "augment.mirror": "alternating", "loss.smoothing": 0.1,
    "average.name": "ema", "average.horizon.steps": 20, "recalibrate": 64,
  }  # fmt: skip


class Bench:
  """Two work folders: of a run that is never stopped, and of one that is killed."""

  def __init__(self, work: Path, total: int, settings: dict[str, object], hosts: int):
    self.work, self.total, self.settings, self.hosts = work, total, settings, hosts
    self.killed: list[int] = []  # number of the host, of each kill
    self.ended: list[float] = []  # seconds until the others had ended, of each kill
    self.photos, self.broken = work / "photos", work / "broken"
    self.seconds: dict[str, float] = {}  # how long each phase takes

  def unbroken(self) -> None:
    """Runs to the end, and measures the phases."""
    marks = {"begin": time.monotonic()}
    process, folder = self._start("unbroken"), self.work / "unbroken"
    for name, there in (
      ("parameters", lambda: (folder / "parameters.tsv").exists()),
      ("eval", lambda: _size(folder) > 0),
      ("row", lambda: len(_rows(folder)) > 1),
      ("next", lambda: any(row["step"] == 2 * _EVAL for row in _rows(folder))),
      ("export", lambda: (folder / "weights").exists()),
    ):
      _wait_for(there, process)
      marks[name] = time.monotonic()
    process.wait()
    self.run("unbroken")  # Fails if it failed; else it is over at once.
    compiling = marks["row"] - marks["eval"]
    self.seconds = {
      "start": marks["parameters"] - marks["begin"],
      "compilation": compiling,
      "steps": (marks["next"] - marks["row"]) / 2,
      "evaluation": min(1.0, (marks["next"] - marks["row"]) / 4),
      "saving": 0.2,
      "export": 0.2,
    }

  def kill(self, phase: str, chance: random.Random) -> tuple[str | None, int]:
    """Runs into a phase and kills there; the phase, None if the run ended before."""
    process, folder = self._start("broken"), self.broken
    before = _stamp(folder / "parameters.tsv")
    waits: dict[str, Callable[[], bool]] = {
      "start": lambda: True,
      "compilation": lambda: _stamp(folder / "parameters.tsv") != before,
      "steps": _Grows(folder),
      "evaluation": _Grows(folder, evaluation=True),
      "saving": lambda: any((folder / "checkpoints").glob("*.orbax-checkpoint-tmp*")),
      "export": lambda: any((folder / "weights").glob("*")),
    }
    _wait_for(waits[phase], process)
    try:
      process.wait(chance.uniform(0, self.seconds[phase]))
      return (phase if phase == "export" else None), _latest(folder)
    except subprocess.TimeoutExpired:
      self._kill(process, chance.randrange(self.hosts))
      return phase, _latest(folder)

  def _kill(self, process: subprocess.Popen, host: int) -> None:
    """Kills a host; waits until the others have ended, too."""
    self.killed.append(host)
    if self.hosts == 1:
      process.kill()
      process.wait()
      return
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(hosts := children.read_text().split()) < self.hosts:
      time.sleep(0.005)  # The launch is about to start them.
    begun = time.monotonic()
    os.kill(int(hosts[host]), signal.SIGKILL)
    process.wait()
    self.ended.append(time.monotonic() - begun)

  def run(self, name: str) -> None:
    """Runs to the end."""
    if self._start(name).wait():
      log = (self.work / f"{name}.log").read_text()
      sys.exit(f"the {name} run failed: {log[-2000:]}")

  def bytes_of(self, name: str) -> dict[str, bytes]:
    """The files of a run's weights."""
    folder = self.work / name / "weights"
    return {path.name: path.read_bytes() for path in folder.iterdir()}

  def rows_of(self, name: str) -> list[dict]:
    """The rows of metrics, without what depends on the machine's speed."""
    rows = _rows(self.work / name)
    return [{k: v for k, v in row.items() if k not in _TIMES} for row in rows]

  def _start(self, name: str) -> subprocess.Popen:
    settings = {
      "data": self.photos, "total.steps": self.total, "save_every.steps": _SAVE,
      "eval_every.steps": _EVAL, "log_every.steps": _LOG, "batch_size": 16,
      "image_size": 32, "model.width": 0.125, "schedule.warmup.steps": _EVAL,
      "devices": _DEVICES // self.hosts, **self.settings,
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "experiments" / "run.py")]
    if self.hosts > 1:
      launch = [sys.executable, "-m", "im21k", "launch", f"--hosts={self.hosts}", "--"]
      command = [*launch, *command, f"--heartbeat={_HEARTBEAT}"]
    command += [f"--config={ROOT / 'experiments/configs/demo.py'}"]
    command += [f"--workdir={self.work / name}"]
    command += [f"--config.{key}={value}" for key, value in settings.items()]
    # Compiling, which each start does anew, is most of the time.
    flags = (
      "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    variables = {"XLA_FLAGS": flags, **os.environ, "JAX_COMPILATION_CACHE_DIR": ""}
    with (self.work / f"{name}.log").open("a") as log:
      return subprocess.Popen(command, stdout=log, stderr=log, env=variables)


class _Grows:
  """Whether a row came since the run began, or the one before an evaluation."""

  def __init__(self, folder: Path, evaluation: bool = False):
    self._folder, self._evaluation = folder, evaluation
    # A run that starts may first drop rows past its checkpoint.
    self._shortest = _size(folder)

  def __call__(self) -> bool:
    size = _size(self._folder)
    self._shortest = min(self._shortest, size)
    if size <= self._shortest:
      return False
    last = _rows(self._folder)[-1]
    at_evaluation = last["step"] % _EVAL == 0 and "loss" in last
    return at_evaluation or not self._evaluation


def _wait_for(there: Callable[[], bool], process: subprocess.Popen) -> None:
  """Waits until something is there, or the process ends."""
  while process.poll() is None and not there():
    time.sleep(0.005)


def _rows(folder: Path) -> list[dict]:
  path = folder / "metrics.jsonl"
  lines = path.read_text().splitlines(keepends=True) if path.exists() else []
  return [json.loads(line) for line in lines if line.endswith("\n")]


def _size(folder: Path) -> int:
  path = folder / "metrics.jsonl"
  return path.stat().st_size if path.exists() else 0


def _stamp(path: Path) -> int:
  return path.stat().st_mtime_ns if path.exists() else 0


def _latest(folder: Path) -> int:
  """Step of the newest complete checkpoint; 0 if there is none."""
  folder = folder / "checkpoints"
  names = [p.name for p in folder.iterdir()] if folder.exists() else []
  return max((int(name) for name in names if name.isdigit()), default=0)


if __name__ == "__main__":
  main()

"""Parts (d), (e) and (f) of `gpu.py`: real runs of `experiments/run.py`.

Photos of ImageNet's size are packed once, beside the compilation, by a process that
sees no GPU.
"""

import hashlib
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import gpu_programs
import gpu_trace
from gpu_bench import Bench
from gpu_processes import Child, Deadline, Failed, last_line

_LOG = 10  # steps between rows of metrics in part (d)
# The trace is of steps 4 to 8; writing it takes time that belongs to no later row.
_SETTLED = 40
_RETRY_S = 20.0
_POLL_S = 0.003


class Photos:
  """The packed photos, made in the background."""

  def __init__(self, bench: Bench):
    self._child: Child | None = None
    self._packed = ""
    if set("def") & set(bench.parts):
      options = {"folder": str(bench.work), "count": bench.sizes.photos}
      self._child = bench.child("photos", options, JAX_PLATFORMS="cpu")

  def folder(self, deadline: Deadline) -> str:
    """Waits until they are there; Failed if they cannot be made."""
    if self._child is not None and not self._packed:
      with self._child:
        self._packed = self._child.receive(deadline.left())["packed"]
    if not self._packed:
      raise Failed("photos: not packed")
    return self._packed


def feed(bench: Bench, photos: Photos, deadline: Deadline) -> None:
  """Rows of `gpu-feed` (d) and `gpu-trace` (f), of one run with a trace."""
  program = bench.sizes.fed
  workdir = bench.work / "fed"
  settings = {
    "data": photos.folder(deadline),
    **bench.sizes.model,
    **program.settings,
    "total.steps": bench.sizes.fed_steps,
    "log_every.steps": _LOG,
    "save_every.steps": bench.sizes.fed_steps,
  }
  options = [*gpu_programs.run_options(settings), "--profile"]
  with bench.run("run with a trace", workdir, *options) as child:
    failure = _finish(child, deadline)
  if failure and not metrics(workdir) and deadline.has(_RETRY_S):
    # Worker processes need shared memory, of which containers may have little.
    bench.rows.missing("d", f"run {program} with worker processes", failure)
    shutil.rmtree(workdir, ignore_errors=True)
    threads = {"workers": 0, "threads": bench.cores}
    options += gpu_programs.run_options(threads)
    with bench.run("run without workers", workdir, *options) as child:
      failure = _finish(child, deadline)
  if "d" in bench.parts:
    with bench.noting("d", f"run {program}"):
      rows = [row for row in metrics(workdir) if row["step"] > _SETTLED]
      if len(rows) < 3:
        raise Failed(failure or "the run wrote too few rows of metrics")
      bench.rows.write("gpu-feed", **program.columns, **fed(rows, bench))
  if "f" in bench.parts:
    with bench.noting("f", f"trace {program}"):
      _trace(bench, workdir, failure)


def fed(rows: list[dict[str, Any]], bench: Bench) -> dict[str, Any]:
  """Columns of part (d): medians over rows of metrics."""
  rate = statistics.median(row["images_per_s"] for row in rows)
  program = bench.sizes.fed
  alone = [
    row["images_per_s"]
    for row in (*bench.rows.of("gpu-plan"), *bench.rows.of("gpu-speed"))
    if (row["dtype"], row["batch"]) == (program.dtype, program.batch)
    and row.get("remat", program.remat) == program.remat
    and row.get("net", "im21k") == "im21k"
  ]
  return {
    "data_wait_share": statistics.median(row["data_wait_share"] for row in rows),
    "largest_wait_share": max(row["data_wait_share"] for row in rows),
    "images_per_s": rate,
    "of_step_alone": round(rate / alone[-1], 4) if alone else None,
    "peak_mib": rows[-1].get("peak_device_mib"),
    "cores": bench.cores,
    "bad_photos": rows[-1]["bad_photos"],
  }


def _trace(bench: Bench, workdir: Path, failure: str | None) -> None:
  try:
    events = gpu_trace.read(workdir / "profile")
    path = bench.rows.path.with_name(f"{bench.rows.path.stem}_trace.json.gz")
    gpu_trace.write(path, gpu_trace.one_step(events))
    found = gpu_trace.measure(events)
  except (ValueError, OSError) as error:
    raise Failed(f"{error}{f'; {failure}' if failure else ''}") from None
  bench.rows.write("gpu-trace", **bench.sizes.fed.columns, **found, file=path.name)


def restart(bench: Bench, photos: Photos, deadline: Deadline) -> None:
  """Rows of `gpu-restart`: what ends in the same bits as an unbroken run.

  All runs use the card at the same time, since nothing is timed: `unbroken`, the same
  `repeated`, one `restarted` after SIGKILL, and one `compiled again`, without the cache
  and with algorithms that XLA chooses anew.
  """
  packed = photos.folder(deadline)
  anew = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
  children = {
    name: _start_short(
      bench, packed, name, **(anew if name == "compiled again" else {})
    )
    for name in ("unbroken", "restarted", "repeated", "compiled again")
  }
  try:
    killed = None
    with bench.noting("e", "restarted"):
      killed = _kill(bench, children["restarted"], deadline)
      children["restarted"] = _start_short(bench, packed, "restarted")
    with bench.noting("e", "unbroken"):
      _finished(children["unbroken"], deadline)
      for name in ("repeated", "restarted", "compiled again"):
        if name == "restarted" and killed is None:
          continue
        with bench.noting("e", name):
          _finished(children[name], deadline)
          _same(bench, name, killed if name == "restarted" else None)
  finally:
    for child in children.values():
      child.kill()


def _start_short(bench: Bench, packed: str, name: str, **variables: str) -> Child:
  settings = {
    "data": packed,
    **bench.sizes.model,
    **bench.sizes.restarted.settings,
    "total.steps": bench.sizes.restarted_steps,
    "log_every.steps": 2,
    "save_every.steps": bench.sizes.save_every,
    "threads": 2,  # Several runs share the cores; batches do not depend on it.
    "workers": 0,
  }
  options = gpu_programs.run_options(settings)
  return bench.run(name, bench.work / name.replace(" ", "_"), *options, **variables)


def _kill(bench: Bench, child: Child, deadline: Deadline) -> int:
  """Kills a run between two checkpoints; the step of its last row of metrics."""
  workdir = bench.work / "restarted"
  wanted = bench.sizes.restarted_steps // 2 + bench.sizes.save_every // 3
  while not child.ended:
    deadline.left()
    rows = metrics(workdir)
    if rows and rows[-1]["step"] >= wanted and _checkpoint(workdir):
      child.kill()
      step: int = metrics(workdir)[-1]["step"]
      if step >= bench.sizes.restarted_steps:
        break
      return step
    time.sleep(_POLL_S)
  reason = last_line(child.log) if not (workdir / "weights").exists() else "it ended"
  raise Failed(f"restarted: not killed between its checkpoints: {reason}")


def _same(bench: Bench, name: str, killed: int | None) -> None:
  first, other = bench.work / "unbroken", bench.work / name.replace(" ", "_")
  bench.rows.write(
    "gpu-restart",
    what=name,
    **bench.sizes.restarted.columns,
    steps=bench.sizes.restarted_steps,
    killed_at=killed,
    same_bits=weights_hash(first) == weights_hash(other),
    **first_difference(metrics(first), metrics(other)),
  )


def _finished(child: Child, deadline: Deadline) -> None:
  if failure := _finish(child, deadline):
    raise Failed(failure)


def _finish(child: Child, deadline: Deadline) -> str | None:
  """Waits for a run; None, or why it is not finished."""
  try:
    code = child.finish(deadline.left())
  except Failed as error:
    return str(error)
  if code:
    return f"{child.name}: ended with exit code {code}: {last_line(child.log)}"
  return None


def metrics(workdir: Path) -> list[dict[str, Any]]:
  """The complete rows of a run's metrics so far."""
  path = workdir / "metrics.jsonl"
  lines = path.read_text().splitlines(keepends=True) if path.exists() else []
  return [json.loads(line) for line in lines if line.endswith("\n")]


def weights_hash(workdir: Path) -> str:
  """Hash of the final weights' arrays; Failed if there are none."""
  paths = sorted((workdir / "weights").glob("*.safetensors"))
  if not paths:
    raise Failed(f"{workdir.name}: no weights were written")
  return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def first_difference(
  one: list[dict[str, Any]], other: list[dict[str, Any]]
) -> dict[str, Any]:
  """The first step at which two runs' losses differ, and by how much at most."""
  pairs = {row["step"]: row["loss"] for row in one if "loss" in row}
  common = [(r["step"], pairs[r["step"]], r["loss"]) for r in other if "loss" in r
            and r["step"] in pairs]  # fmt: skip
  differing = [(step, abs(a - b) / abs(a)) for step, a, b in common if a != b]
  if not differing:
    return {"rows_compared": len(common)}
  return {
    "rows_compared": len(common),
    "first_difference": differing[0][0],
    "largest_difference": max(size for _, size in differing),
  }


def _checkpoint(workdir: Path) -> bool:
  """Whether a complete checkpoint is there."""
  folder = workdir / "checkpoints"
  names = [path.name for path in folder.iterdir()] if folder.exists() else []
  return any(name.isdigit() for name in names)

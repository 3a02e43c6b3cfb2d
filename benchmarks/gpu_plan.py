"""Part (a) of `gpu.py`: programs as planned, and as they run.

Each program runs in a fresh process, since a peak never falls, and alone on the card.
All load from the cache before the first one runs.
"""

import statistics
from typing import Any

import gpu_claims
from gpu_bench import Bench
from gpu_processes import Child, Deadline, Failed
from gpu_programs import Program

_WARM = 3  # steps before any is timed: kernels are loaded at their first use
_ROUNDS = 3
PATIENCE = 0.4  # Share of the time left to wait for one process; others need the rest.


def run(bench: Bench, deadline: Deadline) -> None:
  """A row of `gpu-plan` for each program."""
  loading: dict[Program, Child] = {}
  for program in bench.sizes.planned:
    with bench.noting("a", f"plan {program}"):
      bench.compiled(program)
      loading[program] = bench.child("measure", bench.options(program, "plan"))
  for program, child in list(loading.items()):
    with bench.noting("a", f"plan {program}"):
      try:
        child.receive(deadline.left() * PATIENCE)
      except Failed:
        del loading[program]
        raise
  for program, child in loading.items():
    with bench.noting("a", f"plan {program}"), child:
      _measure(bench, program, child, deadline)


def _measure(bench: Bench, program: Program, child: Child, deadline: Deadline) -> None:
  compiled = bench.compiled(program)
  steps = warm_up(child, bench.sizes.round_s, deadline)
  rounds = [child.ask(deadline.left(60), steps=steps) for _ in range(_ROUNDS)]
  step = statistics.median(one["seconds"] / steps for one in rounds)
  peak, needed = rounds[-1]["peak_mib"], compiled["needed_mib"]
  bench.rows.write(
    "gpu-plan",
    **program.columns,
    needed_mib=needed,
    peak_mib=peak,
    peak_off=round(peak / needed - 1, 4) if peak and needed else None,
    step_ms=round(1e3 * step, 2),
    images_per_s=round(program.batch / step, 1),
    **estimate(compiled, program.batch / step),
    from_cache=rounds[-1]["from_cache"],
    compile_s=compiled["compile_s"],
  )


def warm_up(child: Child, seconds: float, deadline: Deadline) -> int:
  """Runs a program for the first time; the number of steps that take so long."""
  child.ask(deadline.left(120), steps=_WARM)
  each = child.ask(deadline.left(60), steps=_WARM)["seconds"] / _WARM
  return max(3, min(100, round(seconds / each)))


def estimate(compiled: dict[str, Any], images_per_s: float) -> dict[str, Any]:
  """Columns of what `plan` says of the very program; `no_estimate` says why not."""
  report = compiled.get("report")
  expected = gpu_claims.estimated_range(report) if report else None
  peak = gpu_claims.peak_estimate(report) if report else None
  if expected is None or not peak:
    return {"no_estimate": compiled.get("no_report", "plan's report has no images/s")}
  return {
    "estimate_low": round(expected[0], 1),
    "estimate_high": round(expected[1], 1),
    "roofline_share": round(images_per_s / peak, 4),
    "recomputed": report["recomputed_share"],
    "gflops_per_image": report["gflops_per_image"],
  }


class Predictions:
  """What `im21k plan` says of the same programs without the GPU, made meanwhile.

  The processes take what the processor has left, and must have ended before the
  loader is measured.
  """

  _AT_ONCE = 6

  def __init__(self, bench: Bench):
    self._bench = bench
    self._children: dict[Program, Child] = {}
    if "a" not in bench.parts or bench.card is None:
      return
    for program in bench.sizes.planned[: 1 if bench.toy else self._AT_ONCE]:
      options = bench.options(program, "predict")
      child = bench.child("predict", options, JAX_PLATFORMS="cpu", IM21K_NICE="19")
      self._children[program] = child

  def collect(self, seconds: float) -> None:
    """Writes a row of `gpu-predicted` for each, after so many seconds at most."""
    deadline = Deadline(seconds)
    measured = {
      (row["dtype"], row["batch"], row["remat"]): row.get("peak_mib")
      for row in self._bench.rows.of("gpu-plan")
    }
    for program, child in self._children.items():
      with self._bench.noting("a", f"predict {program}"), child:
        # What is finished is taken even if no time is left.
        seconds = deadline.left() if deadline.has(0.01) else 0.0
        report = child.receive(seconds)["report"]
        peak = measured.get((program.dtype, program.batch, program.remat))
        needed = report["needed_mib"]
        self._bench.rows.write(
          "gpu-predicted",
          **program.columns,
          predicted_mib=needed,
          peak_mib=peak,
          peak_off=round(peak / needed - 1, 4) if peak else None,
        )

"""Everything that is claimed of GPUs, measured on one card in at most 8 minutes.

  python benchmarks/gpu.py

Parts, chosen by `--only a,c`:
  a  programs as planned and as they run: memory's peak, step time, images/s
  b  processes limited to 3.5 GiB and 1 GiB: the planned batch trains with the same loss
  c  images/s and share of the roofline, beside PyTorch with the same net
  d  a real run over packed photos: share of the time spent waiting for data
  e  a run killed and restarted, repeated, and compiled again: bits of the weights
  f  a trace of one step: copies of batches beside computation

One JSON row a figure is appended to benchmarks/results/gpu.jsonl as it comes; what
fails or takes too long becomes a row with the reason, and the rest continues. At the
end the claims that hold and those that are disproved are listed; exit code 1 if any is
disproved or not measured, 2 if nothing can be measured. `python benchmarks/tables.py`
shows the newest run in benchmarks/README.md.

It needs JAX with CUDA, flax, optax and torch as CUDA images have them. For a rented
machine without a network, list what its image lacks and take that along:

  python benchmarks/gpu.py --list-wheels image.txt >wheels.txt
  pip download --no-deps --only-binary=:all: --python-version 3.12 \
      --implementation cp --platform manylinux_2_28_x86_64 \
      --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
      --platform manylinux_2_27_x86_64 --dest .wheels --requirement wheels.txt

where image.txt holds the names of its packages (`pip list`), and there

  timeout 590 python3 benchmarks/gpu.py --wheels .wheels --budget 480 \
      --results "$OUT/gpu.jsonl"

On a machine without a GPU, `--toy` runs all of it with a narrow net, as a test.
"""

import argparse
import concurrent.futures
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import gpu_claims
import gpu_limits
import gpu_plan
import gpu_processes
import gpu_programs
import gpu_runs
import gpu_setup
import gpu_speed
import gpu_wheels
from gpu_bench import HERE, ROOT, Bench
from gpu_processes import Deadline, Failed

PARTS = "abcdef"
RUNS = "def"
# Shares of the time that is left, for what is done one after the other.
SHARES = {"compile": 0.7, "c": 0.18, "a": 0.22, "be": 0.24, "df": 0.16}
_HEAD_START = 0.14  # of the budget, for what is compared with PyTorch


def main(arguments: Sequence[str] | None = None) -> int:
  options = _parse(arguments)
  if options.list_wheels is not None:
    listing = Path(options.list_wheels) if options.list_wheels else None
    print("\n".join(gpu_wheels.wanted(gpu_wheels.present(listing))))
    return 0
  gpu_processes.end_with_signals()
  begun = time.monotonic()
  deadline = Deadline(options.budget)
  with contextlib.ExitStack() as stack:
    if options.work:
      work = options.work.resolve()
      work.mkdir(parents=True, exist_ok=True)
    else:
      folder = tempfile.TemporaryDirectory(
        prefix="im21k-gpu-", ignore_cleanup_errors=True
      )
      work = Path(stack.enter_context(folder))
    stack.callback(gpu_processes.kill_all)
    try:
      bench, kind = gpu_setup.prepare(options, work, deadline)
    except Failed as error:
      print(f"gpu.py: {error}", file=sys.stderr)
      return 2
    stopped = False
    try:
      _measure(bench, options.budget)
    except KeyboardInterrupt as error:
      stopped = True
      gpu_processes.kill_all()
      bench.rows.missing("", "the rest", f"stopped by {error or 'Ctrl-C'}")
    code = _conclude(bench, options.only, kind)
    print(f"{time.monotonic() - begun:.0f} s; rows: {bench.rows.path}", file=sys.stderr)
    return int(code or stopped)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--only", default=PARTS, help="Letters of the parts to run.")
  parser.add_argument(
    "--budget", type=float, default=480, help="Seconds after which it ends."
  )
  parser.add_argument(
    "--wheels", type=Path, help="Folder of wheels that are installed for the children."
  )
  parser.add_argument(
    "--list-wheels", nargs="?", const="", metavar="IMAGE",
    help="List the requirements that this list of packages, or this Python, lacks.",
  )  # fmt: skip
  parser.add_argument("--results", type=Path, help="File to append the rows to.")
  parser.add_argument(
    "--work", type=Path, help="Folder for cache, runs and logs, which is then kept."
  )
  parser.add_argument("--card", help="Name of the card in im21k/planning/cards.py.")
  parser.add_argument(
    "--toy", action="store_true", help="Test on CPU with a narrow net."
  )
  options = parser.parse_args(arguments)
  options.only = "".join(re.split(r"[\s,]+", options.only))
  if not options.only or set(options.only) - set(PARTS):
    parser.error(f"--only is {options.only!r}, but takes letters of {PARTS}")
  if options.budget <= 0:
    parser.error(f"--budget is {options.budget:g}, but must be more than 0")
  if options.results is None:
    toy = ROOT / "runs" / "gpu_toy.jsonl"
    options.results = toy if options.toy else HERE / "results" / "gpu.jsonl"
  return options


def _measure(bench: Bench, budget: float) -> None:
  """Compiles, then runs the parts."""
  if lacking := bench.missing["runs"]:
    for part in sorted(set(RUNS) & set(bench.parts)):
      reason = f"{', '.join(lacking)} cannot be imported: carry wheels for --wheels"
      bench.rows.missing(part, f"part ({part})", reason)
    bench.parts = "".join(part for part in bench.parts if part not in RUNS)
  photos = gpu_runs.Photos(bench)
  comparison = gpu_speed.Comparison(bench)
  first, rest = gpu_programs.needed_programs(bench.sizes, bench.parts)
  limit = _limit(bench.deadline, "compile", bench.parts)
  _say(bench, f"compile {len(first) + len(rest)} programs")
  bench.compile(first, rest, limit, budget * _HEAD_START)
  _group(bench, "c", {"c": comparison.run})
  predictions = gpu_plan.Predictions(bench)
  _group(bench, "a", {"a": gpu_plan.run})
  _group(
    bench, "be",
    {"b": gpu_limits.run, "e": lambda b, d: gpu_runs.restart(b, photos, d)},
  )  # fmt: skip
  predictions.collect(10 if bench.deadline.has(90) or bench.toy else 0)
  _group(bench, "df", {"df": lambda b, d: gpu_runs.feed(b, photos, d)})


def _say(bench: Bench, what: str) -> None:
  left = bench.deadline.left() if bench.deadline.has(0.01) else 0
  print(f"{left:.0f} s left: {what}", file=sys.stderr, flush=True)


def _limit(deadline: Deadline, name: str, parts: str) -> Deadline:
  """The part of the time left that this may take; what it leaves is for later ones."""
  names = list(SHARES)
  later = [
    other
    for other in names[names.index(name) :]
    if other == name or set(other) & set(parts)
  ]
  share = SHARES[name] / sum(SHARES[other] for other in later)
  return deadline.within(deadline.left() * share) if deadline.has(0) else deadline


def _group(
  bench: Bench, name: str, parts: dict[str, Callable[[Bench, Deadline], None]]
) -> None:
  """Runs the chosen of these parts at the same time; none stops another."""
  chosen = {k: run for k, run in parts.items() if set(k) & set(bench.parts)}
  if not chosen:
    return
  limit = _limit(bench.deadline, name, bench.parts)
  _say(bench, f"part {' and '.join(chosen)}")

  def run(part: str) -> None:
    with bench.noting(part, f"part ({part})"):
      chosen[part](bench, limit)

  with concurrent.futures.ThreadPoolExecutor(len(chosen)) as threads:
    try:
      list(threads.map(run, chosen))
    except BaseException:
      gpu_processes.kill_all()  # Else the threads would wait for them.
      raise


def _conclude(bench: Bench, parts: str, kind: str) -> int:
  """Writes and shows what holds of these parts' claims; 1 unless all do."""
  found = [
    claim
    for claim in gpu_claims.claims(bench.rows.written, kind)
    if claim.part in parts
  ]
  for claim in found:
    bench.rows.write(
      "gpu-claims",
      part=claim.part,
      claim=claim.claim,
      measured=claim.measured,
      verdict=gpu_claims.WORDS[claim.holds],
    )
  if bench.rows.of("gpu-missing"):
    _keep_logs(bench)
  print(gpu_claims.summary(found), file=sys.stderr)
  return int(not all(claim.holds for claim in found))


def _keep_logs(bench: Bench) -> None:
  """Writes the ends of all logs beside the results, for there may be no second try."""
  lines = []
  for log in sorted(bench.work.glob("*.log")):
    lines += [f"=== {log.name}", *(x[:500] for x in gpu_processes.tail(log, 25))]
  path = bench.rows.path.with_name(f"{bench.rows.path.stem}_logs.txt")
  path.write_text("\n".join(lines) + "\n", encoding="utf-8")
  print(f"logs: {path}", file=sys.stderr)


if __name__ == "__main__":
  sys.exit(main())

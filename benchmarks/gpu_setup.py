"""Options of `gpu.py` -> a benchmark that is ready: wheels, device, versions, files."""

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_claims
import gpu_programs
import gpu_wheels
from gpu_bench import HERE, ROOT, Bench, Rows
from gpu_processes import Child, Deadline, Failed

# Compiling is most of a test's time.
_TOY_FLAGS = (
  "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)


def prepare(
  options: argparse.Namespace, work: Path, deadline: Deadline
) -> tuple[Bench, str]:
  """Installs wheels, asks for the device and opens the results.

  Raises:
    Failed: nothing can be measured.
  """
  wheels = work / "wheels"
  if options.wheels:
    gpu_wheels.install(options.wheels, wheels)
  environment = _environment(work, wheels, options.toy)
  found = _probe(environment, work, deadline)
  if found["platform"] != "gpu" and not options.toy:
    raise Failed(
      f"JAX sees no GPU, only {found['kind']}: run it where nvidia-smi lists one, with "
      "jax[cuda], or test it with --toy"
    )
  if not options.toy:
    # Else a process that cannot have the GPU would measure the CPU.
    environment.setdefault("JAX_PLATFORMS", "cuda,cpu")
  missing = found["missing"]
  if missing["all"]:
    raise Failed(
      f"{', '.join(missing['all'])} cannot be imported: install them, or carry wheels "
      "for --wheels; --list-wheels lists which"
    )
  bench = Bench(
    rows=Rows(options.results, _about(found, options.toy)),
    work=work,
    environment=environment,
    sizes=gpu_programs.TOY if options.toy else gpu_programs.CARD,
    parts=options.only,
    deadline=deadline,
    card=options.card
    or found["card"]
    or gpu_claims.card_name(found["kind"], found["cards"]),
    memory=found["memory"],
    cores=cores(),
    toy=options.toy,
    missing=missing,
  )
  if options.toy:
    bench.card = options.card or "h100"  # for the logic; nothing comes of it
  return bench, found["kind"]


def _environment(work: Path, wheels: Path, toy: bool) -> dict[str, str]:
  """Variables of all children."""
  paths = [str(wheels), str(ROOT), os.environ.get("PYTHONPATH", "")]
  # JAX refuses both names of one limit; the children set their own.
  dropped = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION",
             "XLA_PYTHON_CLIENT_ALLOCATOR")  # fmt: skip
  environment = {
    **{name: value for name, value in os.environ.items() if name not in dropped},
    "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    "JAX_COMPILATION_CACHE_DIR": str(work / "cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
    "TRITON_CACHE_DIR": str(work / "triton"),
    # Several processes share the card, and a peak must be the step's own.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
  }
  if toy:
    environment |= {
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": f"{_TOY_FLAGS} {os.environ.get('XLA_FLAGS', '')}",
    }
  return environment


def _probe(
  environment: dict[str, str], work: Path, deadline: Deadline
) -> dict[str, Any]:
  """What the child `probe` says; its pool may take all of the card's memory."""
  command = [sys.executable, str(HERE / "gpu_child.py"), "probe", "{}"]
  variables = {**environment, "XLA_PYTHON_CLIENT_MEM_FRACTION": "1.0"}
  with Child("JAX", command, variables, work / "probe.log") as child:
    return child.receive(deadline.left(120))


def _about(found: dict[str, Any], toy: bool) -> dict[str, Any]:
  """What every row says of machine, software and time."""
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
  kind = "no GPU (a test on CPU)" if toy else f"one {found['kind']}"
  versions = found["versions"]
  software = [
    f"{name} {versions[key]}"
    for key, name in (("jax", "jax"), ("flax", "flax"), ("torch", "PyTorch"))
    if key in versions
  ]
  if driver := _driver():
    software.append(f"driver {driver}")
  now = datetime.datetime.now(datetime.UTC)
  return {
    "run": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "source": "measured",
    "command": "python benchmarks/gpu.py" + (" --toy" if toy else ""),
    "machine": f"{kind}, {cores()} cores, {memory:.0f} GiB",
    "software": ", ".join(software),
    "date": now.strftime("%Y-%m-%d"),
  }


def _driver() -> str:
  """Version of NVIDIA's driver, if nvidia-smi says so."""
  command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
  except (OSError, subprocess.SubprocessError):
    return ""
  lines = done.stdout.split()
  return lines[0] if lines and not done.returncode else ""


def cores() -> int:
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0))

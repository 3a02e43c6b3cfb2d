"""Processor time and memory of processes on Linux: how much, and no more than."""

import resource
from pathlib import Path


def processor_s(pid: int | None) -> float:
  """Seconds of processor time of a process so far; 0 when it is gone."""
  try:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  except OSError:
    return 0.0
  return (int(fields[11]) + int(fields[12])) / 100


def bound_memory(mib: int) -> None:
  """No more than so much above what the process has now."""
  _, hard = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(
    resource.RLIMIT_AS, (status_kib("VmSize") * 1024 + mib * 2**20, hard)
  )


def status_kib(field: str) -> int:
  """A field of this process's /proc/self/status, KiB."""
  for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith(f"{field}:"):
      return int(line.split()[1])
  raise RuntimeError(f"/proc/self/status has no {field}")


def reset_peak() -> int:
  """Resets this process's highest resident memory, KiB, and returns what it is now."""
  Path("/proc/self/clear_refs").write_text("5")
  return status_kib("VmRSS")

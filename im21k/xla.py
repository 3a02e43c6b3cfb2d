"""Settings of JAX and XLA: what is compiled, how much memory, virtual devices."""

import os
from collections.abc import Mapping, MutableMapping

import jax

# The first three: else XLA starts an all-reduce and at once waits for it.
XLA_FLAGS: dict[str, bool | int] = {
  # The only scheduler that puts other work between the start and the end of one.
  "--xla_gpu_enable_latency_hiding_scheduler": True,
  # By default one runs at a time, and the head's 89 MB hold up all others.
  "--xla_gpu_experimental_parallel_collective_overlap_limit": 16,
  # `mean` packs what belongs together; merging more would delay early ones.
  "--xla_gpu_all_reduce_combine_threshold_bytes": 0,
  # Percent of 80 % of the card (less the step's arguments) from which XLA changes its
  # order and recomputes by itself to save memory. By default 95, which is 3.0 GiB of 4:
  # beyond, programs need more memory, not less, and overlap is lost. At 150 the limit
  # is above the card, so what is compiled is the program as it is written, and the one
  # that `im21k plan` has checked.
  "--xla_gpu_memory_limit_slop_factor": 150,
}

# Without it a GPU may add in another order each time, so bits differ.
_DETERMINISTIC = "--xla_gpu_exclude_nondeterministic_ops"

# Share of a GPU's memory for XLA; its default, 0.75, would leave 1 GiB of 4 unused. The
# rest is for CUDA's context and libraries.
MEMORY_FRACTION = 0.875


def flags(
  given: Mapping[str, str] = os.environ, deterministic: bool = False
) -> dict[str, bool | int]:
  """Our flags; where the environment variable XLA_FLAGS has one, with its value there.

  To compile with, say them as options too: XLA reads the variable only once, and it may
  have been set since.
  """
  wanted = {**XLA_FLAGS, **({_DETERMINISTIC: True} if deterministic else {})}
  for flag in given.get("XLA_FLAGS", "").split():
    name, _, value = flag.partition("=")
    if name in wanted:
      is_number = type(wanted[name]) is int and value.isdecimal()
      wanted[name] = int(value) if is_number else value.lower() in ("", "1", "true")
  return wanted


def environment(
  given: Mapping[str, str], deterministic: bool = False
) -> dict[str, str]:
  """The environment variables for JAX; those in `given` keep their values."""
  there = given.get("XLA_FLAGS", "")
  named = {flag.partition("=")[0] for flag in there.split()}
  ours = [
    f"{name}={str(value).lower()}"
    for name, value in flags(given, deterministic).items()
    if name not in named
  ]
  memory = "XLA_PYTHON_CLIENT_MEM_FRACTION"
  return {
    "XLA_FLAGS": " ".join([*ours, there]).strip(),
    memory: given.get(memory, str(MEMORY_FRACTION)),
  }


def set_up(
  cpu_devices: int = 4,
  environ: MutableMapping[str, str] = os.environ,
  deterministic: bool = False,
) -> None:
  """Prepares JAX; call it before anything else touches a device.

  Sets `environment`. A machine without an accelerator gets `cpu_devices` virtual CPU
  devices, so that everything runs there as on that many GPUs. `deterministic` excludes
  operations of a GPU whose result may differ from run to run.
  """
  environ.update(environment(environ, deterministic))
  jax.config.update("jax_num_cpu_devices", cpu_devices)

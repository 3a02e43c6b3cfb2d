"""What a run runs on, in words: devices, system, versions."""

import importlib.metadata
import platform
from collections.abc import Sequence

import jax

from im21k import machine, parallel, weights


def of(on: Sequence[jax.Device]) -> dict[str, str]:
  """What a run runs on: devices, system, versions of what decides its numbers."""
  packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
  return {
    "devices": devices(on),
    "system": f"{platform.platform()}, {machine.cores()} CPU cores",
    "python": platform.python_version(),
    **{name: importlib.metadata.version(name) for name in packages},
    "commit": weights.commit() or "not a git checkout",
  }


def devices(on: Sequence[jax.Device]) -> str:
  """The devices of all hosts, in words."""
  hosts = f"{parallel.hosts()} hosts x " if parallel.hosts() > 1 else ""
  return f"{hosts}{len(on)} x {on[0].device_kind}"

"""orbax in one of several hosts, without the others.

orbax of several processes waits for all of them at each save, and hangs when what it
writes fails on one. Here the first host saves alone, and each reads by itself.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax import checkpoint
from orbax.checkpoint import v1 as ocp

from im21k import parallel


@contextlib.contextmanager
def alone() -> Iterator[None]:
  """Inside, orbax knows of this process only; on one host, nothing is done."""
  if jax.process_count() == 1:
    yield
    return
  host = jax.process_index()
  only = ocp.options.MultiprocessingOptions(
    primary_host=host, active_processes={host}, barrier_sync_key_prefix=f"host{host}"
  )
  manager: Any = checkpoint.checkpoint_manager
  manager._create_root_directory = _create  # Its own refuses to, for some processes.
  with ocp.Context(multiprocessing_options=only):
    yield


def movable(state: Any) -> Any:
  """The state as `alone` can save it: orbax takes no arrays of one of several hosts."""
  return state if jax.process_count() == 1 else jax.device_get(state)


def expected(
  state: Any, data: dict[str, int], clock: dict[str, float], on: Sequence[jax.Device]
) -> dict[str, Any]:
  """What orbax is asked for: these parts, the state on every device.

  On several hosts the state is asked for in the memory of each.
  """
  everywhere = parallel.replicated(on)

  def of(x: Any) -> Any:
    if parallel.hosts() > 1:
      return np.empty(x.shape, x.dtype)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere)

  shapes = jax.tree.map(of, state)
  return {"state": shapes, "data": data, "clock": clock}


def _create(directory: Any, *_: Any, **__: Any) -> None:
  Path(directory).mkdir(parents=True, exist_ok=True)

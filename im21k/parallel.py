"""The devices of this machine and the one mapped axis over them.

This is the only file that says pmap and pmean.
"""

import os
import shutil
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import jax
from jax.flatten_util import ravel_pytree

AXIS = "device"

# An array of so many bytes is reduced by itself; smaller ones of a segment (a layer of
# the stem, a block, the head) are packed into one vector, 0.1 to 4 MB. So a collective
# is large enough for the link, and waits for nothing but its own segment.
ALONE = 8 << 20

# Without these, XLA starts an all-reduce and at once waits for it.
XLA_FLAGS: dict[str, bool | int] = {
  # The only scheduler that puts other work between the start and the end of one.
  "--xla_gpu_enable_latency_hiding_scheduler": True,
  # By default one at a time is under way, and the head's 89 MB hold up all others.
  "--xla_gpu_experimental_parallel_collective_overlap_limit": 16,
  # `mean` has packed what belongs together; merging more would make early ones late.
  "--xla_gpu_all_reduce_combine_threshold_bytes": 0,
}

# What XLA may take of a GPU's memory; its own 0.75 would leave 1 GiB of 4 unused. The
# rest is for CUDA's context and libraries.
MEMORY_FRACTION = 0.875


def flags(given: Mapping[str, str] = os.environ) -> dict[str, bool | int]:
  """Those of XLA_FLAGS that the variable of that name does not set already."""
  named = {flag.partition("=")[0] for flag in given.get("XLA_FLAGS", "").split()}
  return {name: value for name, value in XLA_FLAGS.items() if name not in named}


def environment(given: Mapping[str, str]) -> dict[str, str]:
  """The variables that JAX must find; what stands in `given` keeps its value."""
  ours = [f"{name}={str(value).lower()}" for name, value in flags(given).items()]
  fallbacks = {"XLA_PYTHON_CLIENT_MEM_FRACTION": str(MEMORY_FRACTION)}
  if not shutil.which("nvidia-smi"):
    # The compiler of `im21k plan` shall not complain that there is no driver.
    fallbacks["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
  return {
    "XLA_FLAGS": " ".join([*ours, given.get("XLA_FLAGS", "")]).strip(),
    **{name: given.get(name, value) for name, value in fallbacks.items()},
  }


def set_up(
  cpu_devices: int = 4, environ: MutableMapping[str, str] = os.environ
) -> None:
  """Prepares JAX; call it before anything else touches a device.

  Sets `environment`. A machine without an accelerator gets `cpu_devices` virtual CPU
  devices, so that everything runs there as on so many GPUs.
  """
  environ.update(environment(environ))
  jax.config.update("jax_num_cpu_devices", cpu_devices)


def devices(count: int) -> list[jax.Device]:
  """The first `count` local devices; ValueError if there are fewer."""
  found = jax.local_devices()
  if not 1 <= count <= len(found):
    kind = found[0].device_kind
    raise ValueError(
      f"{count} devices are asked for, but this machine has {len(found)} ({kind}); "
      "set the number of devices to what there is"
    )
  return found[:count]


def train_step(
  step: Callable[[Any, Any], Any], on: Sequence[jax.Device], axes: Any = None
) -> Any:
  """Maps `step(state, batch) -> (state, metrics)` over devices.

  The batch's leading axis is split; the state is the same on every device, before and
  after, and its memory is used again. `step` must bring its results together with
  `mean` or `total`: nothing else would notice that they differ.

  Args:
    step: to be mapped.
    on: the devices.
    axes: tree like the state with 0 for arrays whose leading axis is split; None:
      there are none.
  """
  return jax.pmap(
    step,
    AXIS,
    in_axes=(axes, 0),
    out_axes=(axes, None),
    donate_argnums=0,
    devices=on,
  )


def eval_step(
  step: Callable[[Any, Any], Any], on: Sequence[jax.Device]
) -> Callable[[Any, Any], Any]:
  """Maps `step(variables, batch) -> sums` over devices; see `train_step`."""
  return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None, devices=on)


def place(state: Any, on: Sequence[jax.Device], axes: Any = None) -> Any:
  """Brings a state to the devices, as `train_step` with these `axes` wants it."""
  mesh = jax.sharding.Mesh(on, (AXIS,))

  def sharding(axis: int | None) -> jax.sharding.Sharding:
    spec = jax.sharding.PartitionSpec(*(() if axis is None else (AXIS,)))
    return jax.sharding.NamedSharding(mesh, spec)

  if axes is None:
    return jax.device_put(state, sharding(None))
  where = jax.tree.map(sharding, axes, is_leaf=lambda axis: axis is None)
  return jax.device_put(state, where)


def replicated(on: Sequence[jax.Device]) -> jax.sharding.Sharding:
  """Where the state lies: the same arrays on each of these devices."""
  mesh = jax.sharding.Mesh(on, (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def divided(on: Sequence[jax.Device]) -> jax.sharding.Sharding:
  """Where a batch lies: one part of its leading axis on each of these devices."""
  mesh = jax.sharding.Mesh(on, (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))


def mean(tree: Any, wire_dtype: Any = None) -> Any:
  """Mean over the devices, inside a mapped step; on one device, nothing is done.

  Args:
    tree: of arrays of one type: one collective for all under `ALONE` bytes, packed into
      a vector, and one for each larger.
    wire_dtype: in which they are sent and added up; None: as they come.
  """
  if axis_size() == 1:
    return tree

  def reduce(x: jax.Array) -> jax.Array:
    return jax.lax.pmean(x.astype(wire_dtype or x.dtype), AXIS).astype(x.dtype)

  leaves, structure = jax.tree.flatten(tree)
  alone = [x.nbytes >= ALONE for x in leaves]
  packed, unpack = ravel_pytree(
    [x for x, large in zip(leaves, alone, strict=True) if not large]
  )
  small = iter(unpack(reduce(packed)))
  leaves = [
    reduce(x) if large else next(small) for x, large in zip(leaves, alone, strict=True)
  ]
  return jax.tree.unflatten(structure, leaves)


def available() -> int:
  """How many devices JAX has found on this machine."""
  return jax.local_device_count()


def axis_size() -> int:
  """How many devices take part, inside a mapped step."""
  return jax.lax.axis_size(AXIS)


def index() -> jax.Array:
  """The number of this device among them, inside a mapped step."""
  return jax.lax.axis_index(AXIS)


def gather(x: jax.Array) -> jax.Array:
  """All devices' rows, one after another: `[b, …]` -> `[devices · b, …]`."""
  return jax.lax.all_gather(x, AXIS, tiled=True)


def scatter(x: jax.Array) -> jax.Array:
  """Sum over devices, of which each gets its rows: the reverse of `gather`."""
  return jax.lax.psum_scatter(x, AXIS, tiled=True)


def largest(x: jax.Array) -> jax.Array:
  """Elementwise maximum over the devices."""
  return jax.lax.pmax(x, AXIS)


def total(tree: Any) -> Any:
  """Sum over the devices, inside a mapped step."""
  return jax.lax.psum(tree, AXIS)

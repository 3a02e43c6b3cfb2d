"""The devices of this machine, and the one mapped axis over them.

Functions of one device's part go in, functions over all devices come out, with means
and sums over them. This is the only file that says pmap and pmean.
"""

import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

AXIS = "device"

# An array of this many bytes is reduced by itself; smaller ones of a segment (a layer
# of the stem, a block, the head) are packed into one vector of 0.1 to 4 MB. So each
# collective is large enough for the link, and waits for its own segment only.
ALONE = 8 << 20

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
  """The XLA_FLAGS that the environment variable of that name does not set already."""
  named = {flag.partition("=")[0] for flag in given.get("XLA_FLAGS", "").split()}
  wanted = XLA_FLAGS | ({_DETERMINISTIC: True} if deterministic else {})
  return {name: value for name, value in wanted.items() if name not in named}


def environment(
  given: Mapping[str, str], deterministic: bool = False
) -> dict[str, str]:
  """The environment variables for JAX; those in `given` keep their values."""
  chosen = flags(given, deterministic)
  ours = [f"{name}={str(value).lower()}" for name, value in chosen.items()]
  memory = "XLA_PYTHON_CLIENT_MEM_FRACTION"
  return {
    "XLA_FLAGS": " ".join([*ours, given.get("XLA_FLAGS", "")]).strip(),
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


def devices(count: int) -> list[jax.Device]:
  """The first `count` local devices; ValueError if there are fewer."""
  present: list[jax.Device] = jax.local_devices()
  if not 1 <= count <= len(present):
    kind = present[0].device_kind
    raise ValueError(
      f"devices is {count}, but this machine has {len(present)} ({kind}): set devices "
      f"to a number from 1 to {len(present)}"
    )
  return present[:count]


def train_step(
  step: Callable[[Any, Any], Any], on: Sequence[jax.Device], axes: Any = None
) -> Any:
  """Maps `step(state, batch) -> (state, metrics)` over devices.

  The batch's leading axis is split; the state is the same on every device, before and
  after, and its memory is used again. `step` must combine its results with `mean` or
  `total`: nothing else would notice that they differ.

  Args:
    step: function of one device's part.
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
  mapped: Callable[[Any, Any], Any] = jax.pmap(
    step, AXIS, in_axes=(None, 0), out_axes=None, devices=on
  )
  return mapped


def place(state: Any, on: Sequence[jax.Device], axes: Any = None) -> Any:
  """Copies a state to the devices, as `train_step` with these `axes` takes it."""
  if axes is None:
    return jax.device_put(state, replicated(on))
  where = jax.tree.map(
    lambda axis: replicated(on) if axis is None else divided(on),
    axes,
    is_leaf=lambda axis: axis is None,
  )
  return jax.device_put(state, where)


def replicated(on: Sequence[jax.Device]) -> jax.sharding.Sharding:
  """Sharding of the state: the same arrays on each of these devices."""
  mesh = jax.sharding.Mesh(on, (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def divided(on: Sequence[jax.Device]) -> jax.sharding.Sharding:
  """Sharding of a batch: a part of its leading axis on each of these devices."""
  mesh = jax.sharding.Mesh(on, (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))


def mean(tree: Any, wire_dtype: Any = None) -> Any:
  """Mean over the devices, inside a mapped step; on one device, nothing is done.

  Args:
    tree: arrays of one type: one collective for all under `ALONE` bytes, packed into a
      vector, and one for each larger.
    wire_dtype: type in which they are sent and added up; None: as they come.
  """
  if axis_size() == 1:
    return tree

  def reduce(x: jax.Array) -> jax.Array:
    reduced: jax.Array = jax.lax.pmean(x.astype(wire_dtype or x.dtype), AXIS)
    return reduced.astype(x.dtype)

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
  """Number of devices of this machine."""
  return jax.local_device_count()


def axis_size() -> int:
  """Number of devices that take part, inside a mapped step."""
  return int(jax.lax.axis_size(AXIS))


def index() -> jax.Array:
  """The number of this device among them, inside a mapped step."""
  number: jax.Array = jax.lax.axis_index(AXIS)
  return number


def group() -> jax.Array:
  """The number of the examples that this device has, inside a mapped step.

  Example i of a batch is of group i modulo all devices: the loader deals examples to
  hosts in turn, and those of a host to its devices. So a group has the same examples
  whatever hosts the devices belong to. With one host it is `index`.
  """
  hosts = jax.process_count()
  if hosts == 1:
    return index()
  host, device = jnp.divmod(index(), axis_size() // hosts)
  number: jax.Array = host + hosts * device
  return number


def gather(x: jax.Array) -> jax.Array:
  """All devices' rows, one after another: `[b, …]` -> `[devices · b, …]`."""
  rows: jax.Array = jax.lax.all_gather(x, AXIS, tiled=True)
  return rows


def scatter(x: jax.Array) -> jax.Array:
  """Sum over devices, of which each gets its own rows: the reverse of `gather`."""
  rows: jax.Array = jax.lax.psum_scatter(x, AXIS, tiled=True)
  return rows


def largest(x: jax.Array) -> jax.Array:
  """Elementwise maximum over the devices."""
  maximum: jax.Array = jax.lax.pmax(x, AXIS)
  return maximum


def total(tree: Any) -> Any:
  """Sum over the devices, inside a mapped step."""
  return jax.lax.psum(tree, AXIS)

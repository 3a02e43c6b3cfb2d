"""The devices of this machine and the one mapped axis over them.

This is the only file that says pmap and pmean.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

AXIS = "device"


def set_up(cpu_devices: int = 4) -> None:
  """Prepares JAX; call it before anything else touches a device.

  A machine without an accelerator gets `cpu_devices` virtual CPU devices, so that
  everything runs there as on so many GPUs. Does nothing where GPUs are used.
  """
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
  step: Callable[[Any, Any], Any], on: Sequence[jax.Device]
) -> Callable[[Any, Any], Any]:
  """Maps `step(state, batch) -> (state, metrics)` over devices.

  The batch's leading axis is split; the state is the same on every device, before and
  after, and its memory is used again. `step` must bring its results together with
  `mean` or `total`: nothing else would notice that they differ.
  """
  return jax.pmap(
    step, AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0, devices=on
  )


def eval_step(
  step: Callable[[Any, Any], Any], on: Sequence[jax.Device]
) -> Callable[[Any, Any], Any]:
  """Maps `step(variables, batch) -> sums` over devices; see `train_step`."""
  return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None, devices=on)


def replicated(on: Sequence[jax.Device]) -> jax.sharding.Sharding:
  """Where the state lies: the same arrays on each of these devices."""
  mesh = jax.sharding.Mesh(on, (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def mean(tree: Any) -> Any:
  """Mean over the devices, inside a mapped step."""
  return jax.lax.pmean(tree, AXIS)


def available() -> int:
  """How many devices JAX has found on this machine."""
  return jax.local_device_count()


def total(tree: Any) -> Any:
  """Sum over the devices, inside a mapped step."""
  return jax.lax.psum(tree, AXIS)

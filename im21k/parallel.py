"""The devices of this host, and the one mapped axis over those of all hosts.

Functions of one device's part go in, functions over all devices come out, with means
and sums over them. This is the only file that says pmap and pmean. Every host names its
own devices, and places and gets what is on these; the axis has those of the first host
first.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

AXIS = "device"

_alone: list[bool] = []  # Not empty: this host's devices make up the axis.

# An array of this many bytes is reduced by itself; smaller ones of a segment (a layer
# of the stem, a block, the head) are packed into one vector of 0.1 to 4 MB. So each
# collective is large enough for the link, and waits for its own segment only.
ALONE = 8 << 20


def devices(count: int | None = None) -> list[jax.Device]:
  """The first `count` devices of this host, or all; ValueError if there are fewer."""
  present: list[jax.Device] = jax.local_devices()
  if count is None:
    return present
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
    on: the devices of this host.
    axes: tree like the state with 0 for arrays whose leading axis is split; None:
      there are none.
  """
  everywhere = _everywhere(on)
  pmap = functools.partial(jax.pmap, axis_name=AXIS, donate_argnums=0)
  if axes is None or len(everywhere) == len(on):
    return pmap(step, in_axes=(axes, 0), out_axes=(axes, None), devices=everywhere)
  # In several processes JAX's pmap has no axes for a dict, but for each leaf.
  leaves, structure = jax.tree.flatten(axes, is_leaf=lambda axis: axis is None)

  def flat(leaves: Any, batch: Any) -> Any:
    state, metrics = step(jax.tree.unflatten(structure, leaves), batch)
    return tuple(jax.tree.leaves(state)), metrics

  axes = tuple(leaves)
  mapped = pmap(flat, in_axes=(axes, 0), out_axes=(axes, None), devices=everywhere)

  def whole(state: Any, batch: Any) -> Any:
    leaves, structure = jax.tree.flatten(state)
    leaves, metrics = mapped(tuple(leaves), batch)
    return jax.tree.unflatten(structure, leaves), metrics

  return whole


def eval_step(
  step: Callable[[Any, Any], Any], on: Sequence[jax.Device]
) -> Callable[[Any, Any], Any]:
  """Maps `step(variables, batch) -> sums` over devices; see `train_step`."""
  mapped: Callable[[Any, Any], Any] = jax.pmap(
    step, AXIS, in_axes=(None, 0), out_axes=None, devices=_everywhere(on)
  )
  return mapped


@contextlib.contextmanager
def alone() -> Iterator[None]:
  """Inside, what is mapped runs on this host alone, as if there were no others."""
  _alone.append(True)
  try:
    yield
  finally:
    _alone.pop()


def is_alone() -> bool:
  """Whether this is inside `alone`."""
  return bool(_alone)


def hosts() -> int:
  """Number of hosts that take part: of JAX processes."""
  return 1 if _alone else int(jax.process_count())


def host() -> int:
  """Number of this host among them."""
  return 0 if _alone else int(jax.process_index())


def own_rows(tree: Any) -> Any:
  """Of arrays with the rows of all devices, see `gather`, those of this host."""

  def own(x: Any) -> Any:
    return x[host() * len(x) // hosts() : (host() + 1) * len(x) // hosts()]

  return tree if hosts() == 1 else jax.tree.map(own, tree)


def all_parts(x: jax.Array, on: Sequence[jax.Device]) -> Any:
  """Parts `[devices, …]` of this host -> of all, which ask together, in host memory."""
  if hosts() == 1:
    return jax.device_get(x)
  gathered = jax.pmap(
    lambda part: jax.lax.all_gather(part, AXIS), AXIS, out_axes=None,
    devices=_everywhere(on),
  )  # fmt: skip
  return jax.device_get(gathered(x))


def _everywhere(on: Sequence[jax.Device]) -> Sequence[jax.Device]:
  """The same devices on all hosts, one host after another.

  Raises:
    ValueError: another host has fewer.
  """
  if hosts() == 1:
    return on
  own = [device.id for device in jax.local_devices()]
  places = [own.index(device.id) for device in on]
  found = []
  for number in range(hosts()):
    there = jax.local_devices(number)
    if max(places) >= len(there):
      raise ValueError(
        f"devices is {len(on)} on each host, but host {number} has {len(there)}: lower "
        "it, or give that host as many"
      )
    found += [there[place] for place in places]
  return found


def place(state: Any, on: Sequence[jax.Device], axes: Any = None) -> Any:
  """Copies a state to the devices, as `train_step` with these `axes` takes it."""
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


def axis_size() -> int:
  """Number of devices that take part, inside a mapped step."""
  return int(jax.lax.axis_size(AXIS))


def index() -> jax.Array:
  """The number of this device among them, inside a mapped step."""
  number: jax.Array = jax.lax.axis_index(AXIS)
  return number


def group() -> jax.Array:
  """The number of the examples that this device has, inside a mapped step.

  Example i of a batch is of group i modulo all devices, for the loader deals them to
  hosts in turn, and then to devices. So a group is the same whatever host it is on.
  """
  if (count := hosts()) == 1:
    return index()
  own, device = jnp.divmod(index(), axis_size() // count)
  return jnp.asarray(own + count * device)


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

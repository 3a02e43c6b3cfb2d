"""A training step and a card's datasheet -> the program that XLA makes of it.

Needs the wheels of the extra `plan`, XLA's compiler for CUDA, but no driver and no GPU.
"""

import concurrent.futures
import contextlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from tqdm import tqdm

from im21k import machine, original, synsets, xla
from im21k.planning import cards
from im21k.planning import network as networks
from im21k.planning.compiled import Compiled
from im21k.training import policies, split_head
from im21k.training import step as steps
from im21k.training.config import Config

_COMPILERS = ("jax-cuda12-plugin", "jax-cuda13-plugin")  # Either will do.


class Compiler:
  """Compiles steps for one kind of card, each step once.

  Args:
    card: the card, by its datasheet.
    reserve: bytes of its memory to leave free.
    network: the hosts of the run.
  """

  def __init__(
    self,
    card: cards.Gpu,
    reserve: int,
    network: networks.Network = networks.ONE,
  ):
    self.card, self.limit, self.network = card, card.memory - reserve, network
    self._done: dict[str, Compiled] = {}
    self._devices: dict[int, Any] = {}

  def among(self, network: networks.Network) -> "Compiler":
    """A compiler for the same card among other hosts; this one for the same."""
    if network == self.network:
      return self
    return Compiler(self.card, self.card.memory - self.limit, network)

  def compile(self, experiment: Config, batch: int) -> Compiled:
    """Compiles the training step of `experiment` for `batch` images a device.

    Raises:
      ValueError: the extra `plan` is not installed, or not in jaxlib's version.
    """
    return self.compile_all([(experiment, batch)])[0]

  def compile_all(self, wanted: Sequence[tuple[Config, int]]) -> list[Compiled]:
    """Compiles many steps, as many at a time as there are cores."""
    keys = [json.dumps([e.to_dict(), b], sort_keys=True) for e, b in wanted]
    new = {k: pair for k, pair in zip(keys, wanted, strict=True) if k not in self._done}
    bar = tqdm(
      total=len(new), desc=f"compile for {self.card.name}", unit=" programs",
      disable=None,
    )  # fmt: skip
    threads = concurrent.futures.ThreadPoolExecutor(machine.cores())
    with bar, threads:
      for count in {experiment.devices for experiment, _ in new.values()}:
        if count not in self._devices:
          self._devices[count] = _describe(self.card, count, self.network.hosts)
      pending = {threads.submit(self._compile, *new[key]): key for key in new}
      for future in concurrent.futures.as_completed(pending):
        self._done[pending[future]] = future.result()
        bar.update()
    return [self._done[key] for key in keys]

  def _compile(self, experiment: Config, batch: int) -> Compiled:
    """Compiles one step, and those before it that find the policies that fit."""
    if not policies.is_open(experiment):
      return self._compile_as_it_is(experiment, batch)
    done: dict[str, Compiled] = {}

    def needed(one: Config) -> int:
      compiled = self._compile_as_it_is(one, batch)
      done[json.dumps(one.to_dict(), sort_keys=True)] = compiled
      return compiled.needed

    found = policies.for_memory(experiment, batch, self.limit, needed)
    key = json.dumps(found.to_dict(), sort_keys=True)
    return done.get(key) or self._compile_as_it_is(found, batch)

  def _compile_as_it_is(self, experiment: Config, batch: int) -> Compiled:
    count, side = experiment.devices * self.network.hosts, experiment.image_size
    classes = synsets.get(experiment.classes)
    model = experiment.make_model(len(classes))
    optimizer = experiment.make_optimizer()
    averaging = experiment.make_averaging(original.IMAGES)
    state = jax.eval_shape(lambda: steps.init(model, optimizer, side, 0, averaging))
    step, _ = experiment.make_step(
      model, optimizer, state, self._devices[experiment.devices], averaging
    )
    own = state  # the part of it on one device
    if experiment.split_head:
      state = jax.eval_shape(lambda s: split_head.split(s, count), state)
      own = jax.eval_shape(lambda s: split_head.on_head(lambda x: x[0], s), state)
    images = {
      "image": jax.ShapeDtypeStruct((count, batch, side, side, 3), jnp.uint8),
      "label": jax.ShapeDtypeStruct((count, batch), jnp.int32),
    }
    options: Any = {
      **{
        name.removeprefix("--"): flag
        for name, flag in xla.flags(deterministic=experiment.deterministic).items()
      },
      "xla_gpu_autotune_level": 0,  # there is nothing to time on
    }
    if self.network.is_hierarchical:
      options[networks.HIERARCHICAL.removeprefix("--")] = experiment.devices
    lowered = step.lower(state, images)
    try:
      compiled = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
      major, minor = self.card.capability
      raise ValueError(
        f"XLA's compiler makes no program for {self.card.name} (compute capability "
        f"{major}.{minor}): {str(error).partition(chr(10))[0]}"
      ) from error
    analysis = compiled.memory_analysis()
    fields = [name for name in dir(analysis) if name.endswith("_in_bytes")]
    return Compiled(
      experiment=experiment,
      card=self.card,
      batch=batch,
      limit=self.limit,
      sizes={
        "parameters": _bytes(own.params),
        "statistics": _bytes(own.batch_stats),
        "optimizer": _bytes(own.opt_state),
        **({"average of weights": _bytes(own.average)} if averaging else {}),
        "images and labels": _bytes(images) // count,
      },
      text=compiled.as_text(),
      memory={name: int(getattr(analysis, name)) for name in fields},
      network=self.network,
    )


def _describe(card: cards.Gpu, count: int, hosts: int) -> Any:
  """`count` devices on each host, known by the card's datasheet alone."""
  _check_compiler()
  os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # no driver is needed
  jax.config.update("jax_platforms", "cpu")  # real GPUs stay free
  return topologies.get_topology_desc(
    "described",
    platform="cuda",
    topology=f"{hosts}x1x{count}",
    target_config=card.target_config(),
  ).devices


def _check_compiler() -> None:
  wanted = importlib.metadata.version("jaxlib")
  remedy = f"pip install {_COMPILERS[0]}=={wanted} nvidia-cuda-nvcc-cu12"
  found: dict[str, str] = {}
  for name in _COMPILERS:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[name] = importlib.metadata.version(name)
  if not found:
    raise ValueError(f"XLA's compiler for CUDA is not installed: {remedy}")
  if wanted not in found.values():
    name, version = next(iter(found.items()))
    raise ValueError(f"{name} is {version}, but jaxlib {wanted}: {remedy}")


def _bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

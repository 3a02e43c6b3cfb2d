"""A config whose `model.remat` is `fit` -> the same with a policy for each segment.

For a run these are the policies of its config.json, or those that fit the memory of its
devices; a plan asks for those that fit a card.
"""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from im21k import documents, original, parallel, synsets
from im21k.models import remat
from im21k.training import fit, segment_costs, split_head
from im21k.training import step as steps
from im21k.training.config import Config
from im21k.training.model_keys import FIT
from im21k.training.outputs import say
from im21k.weights import normalize


def is_open(config: Config) -> bool:
  """Whether a config leaves the policies to the memory."""
  return bool(config.model.get("remat") == FIT)


def of_run(config: Config, workdir: Path) -> Config:
  """The config with the policies of the run in a work folder, if there is one.

  Raises:
    ValueError: its config.json is damaged.
  """
  path = workdir / "config.json"
  if not is_open(config) or not path.is_file():
    return config
  model = documents.read(path).get("model")
  kept = model.get("remat") if isinstance(model, dict) else None
  if kept is None:
    return config
  try:
    return config.changed({"model.remat": kept})
  except ValueError as error:
    raise ValueError(
      f"{path} cannot be read by this im21k: {error}. Take another workdir"
    ) from error


def for_devices(config: Config, on: Sequence[jax.Device]) -> Config:
  """The config with the policies that fit the memory of these devices.

  Where a device does not say how much it has, as on CPU, nothing is recomputed.
  """
  if not is_open(config):
    return config
  if config.is_frozen:
    say("model.remat fit: none, since a frozen trunk has no backprop")
    return config.changed({"model.remat": "none"})
  limit = (on[0].memory_stats() or {}).get("bytes_limit")
  if limit is None:
    say("model.remat fit: none, since this device has no memory of its own")
    return config.changed({"model.remat": "none"})
  # One choice for all phases, that of the largest step: a run has one net, wherever it
  # is resumed, and the smaller steps fit with it too.
  largest = config.largest()
  batch = max(1, largest.batch_size // (len(on) * parallel.hosts()))
  # The loader brings the next batches while a step runs.
  waiting = 2 * batch * 3 * largest.image_size**2
  found = for_memory(
    largest, batch, limit - waiting, lambda config: _needed(config, batch, on)
  ).model["remat"]
  say(f"model.remat fit: {remat.shown(found)}, for {limit / 2**20:,.0f} MiB")
  return config.changed({"model.remat": found})


def for_memory(
  config: Config, batch: int, limit: int, needed: Callable[[Config], int]
) -> Config:
  """The config with the policies that recompute least of those that fit.

  Args:
    config: with `fit`.
    batch: images on each device.
    limit: bytes that a step may need there.
    needed: compiles the step of a config; returns the bytes that it needs.
  """
  config = config.changed({"model.remat": "none"})
  if config.is_frozen:  # Without backprop there is nothing to recompute.
    return config
  side, classes = config.image_size, len(synsets.get(config.classes))
  model: Any = config.make_model(classes)
  optimizer = config.make_optimizer()
  averaging = config.make_averaging(original.IMAGES)
  state = jax.eval_shape(lambda: steps.init(model, optimizer, side, 0, averaging))
  prepare = functools.partial(normalize, mean=config.mean, std=config.std)
  kind = jnp.float32 if config.mix.changes_photos else jnp.uint8
  part = max(1, batch // config.accumulate)
  photos = jax.ShapeDtypeStruct((part, side, side, 3), kind)
  costs = segment_costs.measure(model.clone(prepare=prepare), state, photos)

  def of(policies: remat.Remat) -> Config:
    plain = policies if isinstance(policies, str) else dict(policies)
    return config.changed({"model.remat": plain})

  sums = state.params if config.accumulate > 1 else ()  # of gradients
  held = jax.tree.leaves((state, sums))
  fixed = sum(math.prod(x.shape) * x.dtype.itemsize for x in held)
  fixed += batch // part * math.prod(photos.shape) * photos.dtype.itemsize
  return of(
    fit.choose(costs, model.segments, fixed, limit, lambda one: needed(of(one)))
  )


def _needed(config: Config, batch: int, on: Sequence[jax.Device]) -> int:
  """Bytes that a step needs on each of these devices."""
  side = config.image_size
  model = config.make_model(len(synsets.get(config.classes)))
  optimizer = config.make_optimizer()
  averaging = config.make_averaging(original.IMAGES)
  state = jax.eval_shape(lambda: steps.init(model, optimizer, side, 0, averaging))
  step, _ = config.make_step(model, optimizer, state, on, averaging)
  if config.split_head:
    state = jax.eval_shape(lambda s: split_head.split(s, len(on)), state)
  images = {
    "image": jax.ShapeDtypeStruct((len(on), batch, side, side, 3), jnp.uint8),
    "label": jax.ShapeDtypeStruct((len(on), batch), jnp.int32),
  }
  analysis = step.lower(state, images).compile().memory_analysis()
  allocated = (
    analysis.argument_size_in_bytes
    + analysis.temp_size_in_bytes
    + analysis.output_size_in_bytes
    - analysis.alias_size_in_bytes
  )
  return int(max(allocated, analysis.peak_memory_in_bytes))

"""Compiles the training step for GPUs that are only described, and reads the result.

Needs the wheels of the extra `plan`: XLA's compiler for CUDA; no driver and no GPU.
"""

import concurrent.futures
import dataclasses
import importlib.metadata
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from tqdm import tqdm

from im21k import files, machine, parallel, synsets
from im21k.planning import cards
from im21k.planning import hlo as programs
from im21k.training import split_head
from im21k.training import step as steps
from im21k.training.config import Config

LINK = 10e9  # bytes of gradients reduced a second: PCIe
PASSES, IMAGES = 9, 14_197_087  # the original's training
MIB = 2**20
_COMPILER = "jax-cuda12-plugin"


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A compiled step and where it is to run."""

  experiment: Config
  card: cards.Gpu
  batch: int
  limit: int
  sizes: dict[str, int]  # bytes of the step's arguments, by kind, on one device
  text: str
  memory: dict[str, int]  # XLA's memory analysis

  @property
  def program(self) -> programs.Program:
    """The scheduled program."""
    return programs.Program(self.text)

  @property
  def needed(self) -> int:
    """Bytes that must be there: XLA's peak, or what it allocates, if that is more."""
    m = self.memory
    allocated = (
      m["argument_size_in_bytes"]
      + m["temp_size_in_bytes"]
      + m["output_size_in_bytes"]
      - m["alias_size_in_bytes"]
    )
    return max(m["peak_memory_in_bytes"], allocated)

  @property
  def fits(self) -> bool:
    """Whether the card has as much, less the reserve."""
    return self.needed <= self.limit

  def dump(self, folder: Path) -> None:
    """Writes program.txt and memory.json."""
    files.write_text(folder / "program.txt", self.text)
    files.write_text(folder / "memory.json", json.dumps(self.memory, indent=1) + "\n")

  def report(self) -> dict[str, Any]:
    """All that is said of it; sizes in MiB (2^20 bytes), times in seconds."""
    config, program = self.experiment, self.program
    dtype = config.model.get("dtype", "float32")
    flops = self.card.flops_per_second(dtype)
    bandwidth = self.card.bandwidth_gbs * 1e9
    computing, waiting = program.seconds(flops, bandwidth, LINK)
    at_peak, exposed = program.seconds(flops, math.inf, LINK)
    images = config.devices * self.batch / (computing + waiting)
    total, again = program.total_flops(), program.recomputed_flops()
    # Beside them there are those of BatchNorm's statistics and the metrics, 0.1 MB.
    reduced = [one for one in program.all_reduces() if "gradients" in one.origin]
    sent = sum(one.bytes for one in reduced)
    hidden = sum(one.bytes for one in reduced if one.convolutions)
    peak = programs.peak(program)
    arguments = sum(self.sizes.values())
    rest = self.needed - arguments - peak.kept - peak.gradients - peak.workspace
    return {
      "gpu": self.card.name,
      "devices": config.devices,
      "batch": self.batch,
      "dtype": dtype,
      "remat": config.model.get("remat", "none"),
      "split_head": config.split_head,
      "jax": jax.__version__,
      "peak_mib": _mib(self.memory["peak_memory_in_bytes"]),
      "needed_mib": _mib(self.needed),
      "limit_mib": _mib(self.limit),
      "reserve_mib": _mib(self.card.memory - self.limit),
      "fits": self.fits,
      "made_of_mib": {
        **{name: _mib(size) for name, size in self.sizes.items()},
        "activations kept": _mib(peak.kept),
        "gradients held": _mib(peak.gradients),
        "workspace of the largest step": _mib(peak.workspace),
        "lost between arrays": _mib(rest),
      },
      "largest_step": _place(peak.at),
      "gflops_per_image": round(total / self.batch / 1e9, 2),
      "recomputed_share": round(again / (total - again), 4),
      "gradient_mb": round(sent / 1e6, 1),
      "overlapped_share": round(hidden / sent, 4) if sent else None,
      "exposed_share": round(exposed / (at_peak + exposed), 4) if sent else None,
      "has_collectives": program.has_collectives(),
      "all_reduces": [dataclasses.asdict(one) for one in reduced],
      "step_s": round(computing + waiting, 4),
      "images_per_s": round(images, 1),
      "days": round(PASSES * IMAGES / images / 86400, 2),
    }


class Compiler:
  """Compiles steps for one kind of card; a step asked for twice is compiled once."""

  def __init__(self, card: cards.Gpu, reserve: int):
    self.card, self.limit = card, card.memory - reserve
    self._done: dict[str, Compiled] = {}
    self._devices: dict[int, Any] = {}

  def compile(self, experiment: Config, batch: int) -> Compiled:
    """Compiles the training step of `experiment` for `batch` images a device.

    Raises:
      ValueError: the extra `plan` is not installed, or not in jaxlib's version.
    """
    return self.compile_all([(experiment, batch)])[0]

  def compile_all(self, wanted: Sequence[tuple[Config, int]]) -> list[Compiled]:
    """The same for many, as many at a time as there are cores."""
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
          self._devices[count] = _describe(self.card, count)
      waiting = {threads.submit(self._compile, *new[key]): key for key in new}
      for future in concurrent.futures.as_completed(waiting):
        self._done[waiting[future]] = future.result()
        bar.update()
    return [self._done[key] for key in keys]

  def _compile(self, experiment: Config, batch: int) -> Compiled:
    count, side = experiment.devices, experiment.image_size
    classes = synsets.get(experiment.classes)
    model = experiment.make_model(len(classes))
    optimizer = experiment.make_optimizer(IMAGES)
    state = jax.eval_shape(lambda: steps.init(model, optimizer, side, 0))
    step, _ = experiment.make_step(model, optimizer, state, self._devices[count])
    own = state  # what one device holds of it
    if experiment.split_head:
      state = jax.eval_shape(lambda s: split_head.split(s, count), state)
      own = jax.eval_shape(lambda s: split_head.on_head(lambda x: x[0], s), state)
    images = {
      "image": jax.ShapeDtypeStruct((count, batch, side, side, 3), jnp.uint8),
      "label": jax.ShapeDtypeStruct((count, batch), jnp.int32),
    }
    options: Any = {
      **{name.removeprefix("--"): flag for name, flag in parallel.flags().items()},
      "xla_gpu_autotune_level": 0,  # there is nothing to time on
    }
    compiled = step.lower(state, images).compile(compiler_options=options)
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
        "images and labels": _bytes(images) // count,
      },
      text=compiled.as_text(),
      memory={name: int(getattr(analysis, name)) for name in fields},
    )


def _describe(card: cards.Gpu, count: int) -> Any:
  """Devices that exist on paper."""
  _check_compiler()
  os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # there need be no driver
  jax.config.update("jax_platforms", "cpu")  # real GPUs, if there are, stay free
  return topologies.get_topology_desc(
    "described",
    platform="cuda",
    topology=f"1x1x{count}",
    target_config=card.target_config(),
  ).devices


def _check_compiler() -> None:
  wanted = importlib.metadata.version("jaxlib")
  remedy = f"pip install {_COMPILER}=={wanted} nvidia-cuda-nvcc-cu12"
  try:
    version = importlib.metadata.version(_COMPILER)
  except importlib.metadata.PackageNotFoundError:
    raise ValueError(f"XLA's compiler for CUDA is not installed: {remedy}") from None
  if version != wanted:
    raise ValueError(f"{_COMPILER} is {version}, but jaxlib {wanted}: {remedy}")


def _bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _mib(size: int) -> float:
  return round(size / MIB, 1)


def _place(origin: str) -> str:
  """The module in a path of JAX operations: `block_3a`, say."""
  parts = [part.split(".")[0] for part in origin.split("/")]
  named = [part for part in parts if re.fullmatch(r"conv\d\w*|block_\w+|head", part)]
  return named[-1] if named else "the optimizer, or the loss"

"""A training step in a child of `gpu.py`: compiled, loaded and run on one device.

Parameters and photos are made on the host from fixed seeds, so that the memory in use
is the step's own, and PyTorch's net begins with the same ones.
"""

import functools
import time
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from im21k import parallel, synsets, xla
from im21k.training import configs
from im21k.training import step as steps
from im21k.training.config import Config

MIB = 2**20
RESERVE_MIB = 512  # as `im21k plan` reserves for CUDA


@functools.cache
def set_up() -> None:
  """Prepares JAX as a run does, once; call it before anything touches the device."""
  xla.set_up(1)


class Step:
  """The training step of a config, of one device.

  Args:
    options: `config`, its file, and `settings` by dotted name.
  """

  def __init__(self, options: dict[str, Any]):
    set_up()
    self.config: Config = configs.load(options["config"], options["settings"])
    self._devices = parallel.devices(1)
    self._cache = _CacheEvents()
    classes = synsets.get(self.config.classes)
    self.model = self.config.make_model(len(classes))
    optimizer = self.config.make_optimizer(100_000)
    side, seed = self.config.image_size, self.config.seed
    averaging = self.config.make_averaging(100_000)
    self.shapes = jax.eval_shape(
      lambda: steps.init(self.model, optimizer, side, seed, averaging)
    )
    self._step, axes = self.config.make_step(
      self.model, optimizer, self.shapes, self._devices, averaging
    )
    assert axes is None
    self._count = len(classes)
    self._compiled: Any = None
    self._state: Any = None
    self._batch: Any = None
    self._first_loss: float | None = None

  @property
  def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a batch, as the loader gives them."""
    side, count = self.config.image_size, self.config.batch_size
    return {
      "image": jax.ShapeDtypeStruct((1, count, side, side, 3), jnp.uint8),
      "label": jax.ShapeDtypeStruct((1, count), jnp.int32),
    }

  def compile(self) -> Any:
    """The executable, from the cache if it is there."""
    return self._step.lower(self.shapes, self.batch_shapes).compile()

  def load(self) -> None:
    """Loads the executable, and brings parameters and photos to the device."""
    self._compiled = self.compile()
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self.shapes)
    state = state.replace(
      params=parameters(self.shapes.params),
      batch_stats=jax.tree_util.tree_map_with_path(
        lambda path, x: np.full(x.shape, "var" in str(path[-1]), x.dtype),
        self.shapes.batch_stats,
      ),
    )
    self._state = parallel.place(state, self._devices)
    side, count = self.config.image_size, self.config.batch_size
    images, labels = photos_of(count, side, self._count)
    self._batch = jax.device_put(
      {"image": images[None], "label": labels[None]}, parallel.divided(self._devices)
    )
    jax.block_until_ready((self._state, self._batch))

  def run(self, count: int) -> dict[str, Any]:
    """Takes `count` steps; seconds, the losses, and the memory's peak so far."""
    measured = []
    start = time.perf_counter()
    for _ in range(count):
      self._state, metrics = self._compiled(self._state, self._batch)
      measured.append(metrics["loss"])
    jax.block_until_ready((self._state, measured))
    seconds = time.perf_counter() - start
    stats = self._devices[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    found = [float(loss) for loss in jax.device_get(measured)]
    if self._first_loss is None:
      self._first_loss = found[0]
    return {
      "seconds": seconds,
      "losses": found,
      "first_loss": self._first_loss,
      "peak_mib": round(peak / MIB, 1) if peak else None,
      "limit_mib": round(stats.get("bytes_limit", 0) / MIB, 1),
      "from_cache": self._cache.hits > 0,
    }


class _CacheEvents:
  """Counts what came from the compilation cache."""

  def __init__(self) -> None:
    self.hits = 0
    jax.monitoring.register_event_listener(self._count)

  def _count(self, event: str, **_: Any) -> None:
    self.hits += event == "/jax/compilation_cache/cache_hits"


def parameters(shapes: Any) -> Any:
  """Parameters from fixed seeds: kernels by He, the head's smaller, biases 0."""

  def make(path: Any, x: Any) -> np.ndarray:
    name = jax.tree_util.keystr(path)
    if "kernel" not in name:
      return np.full(x.shape, "scale" in name, x.dtype)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    deviation = 0.01 if "head" in name else (2 / np.prod(x.shape[:-1])) ** 0.5
    return (rng.standard_normal(x.shape, np.float32) * deviation).astype(x.dtype)

  return jax.tree_util.tree_map_with_path(make, shapes)


def photos_of(count: int, side: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
  """Random uint8 `[count, side, side, 3]` and int32 labels, the same every time."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
  return images, rng.integers(0, classes, count, np.int32)


def needed_mib(compiled: Any) -> float | None:
  """Memory that an executable needs, as `planning.compiled.Compiled.needed`."""
  memory = compiled.memory_analysis()
  if memory is None:
    return None
  allocated = (
    memory.argument_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
  )
  peak = getattr(memory, "peak_memory_in_bytes", 0)
  return round(max(peak, allocated) / MIB, 1)


def estimate(step: Step, compiled: Any, card: str | None) -> dict[str, Any]:
  """`report`: what `plan` says of this very executable; else `no_report`: why not."""
  from im21k.planning import cards
  from im21k.planning.compiled import Compiled

  if card is None:
    return {"no_report": "this card is not in im21k/planning/cards.py: give --card"}
  try:
    gpu = cards.get(card)
    memory = compiled.memory_analysis()
    fields = [name for name in dir(memory) if name.endswith("_in_bytes")]
    planned = Compiled(
      experiment=step.config,
      card=gpu,
      batch=step.config.batch_size,
      limit=gpu.memory - RESERVE_MIB * MIB,
      sizes={},
      text=compiled.as_text(),
      memory={name: int(getattr(memory, name)) for name in fields},
    )
    return {"report": plain(planned.report())}
  except Exception as error:  # Another form of program on another version of XLA.
    return {
      "no_report": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    }


def plain(report: dict[str, Any]) -> dict[str, Any]:
  """A report without what a row has no use for, ready for JSON."""
  kept = {k: v for k, v in report.items() if k not in ("all_reduces", "made_of_mib")}
  return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}


def predict(options: dict[str, Any]) -> dict[str, Any]:
  """What `plan` says without the GPU; ValueError if its compiler is missing."""
  from im21k.planning import cards
  from im21k.planning.compiler import Compiler

  config = configs.load(options["config"], options["settings"])
  compiler = Compiler(cards.get(options["card"]), RESERVE_MIB * MIB)
  return {"report": plain(compiler.compile(config, config.batch_size).report())}


def allocate(mib: int) -> dict[str, Any]:
  """Allocates a plain array of so many MiB."""
  set_up()
  array = jnp.zeros(mib * MIB, jnp.uint8)
  jax.block_until_ready(array)
  array.delete()
  return {"allocated": True}


def losses(options: dict[str, Any]) -> dict[str, Any]:
  """Loads and takes `steps` steps."""
  step = Step(options)
  step.load()
  return step.run(options["steps"])

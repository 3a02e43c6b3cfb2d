"""A program -> one file of StableHLO, for JAX on CPU, CUDA and TPU."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from im21k.export import comparison, extras
from im21k.export.program import DOCUMENT, Program, checksum

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def check() -> None:
  """ValueError if a library is missing."""
  extras.need("jax", "flatbuffers")


def write(program: Program, folder: Path) -> float | None:
  """Writes program and description; returns the difference to JAX.

  Raises:
    ValueError: it differs too much.
  """
  (batch,) = export.symbolic_shape("batch")
  made = export.export(jax.jit(program.run), platforms=PLATFORMS)(program.images(batch))
  data = bytes(made.serialize())
  found = comparison.compare(program, "the exported program", runner(data))
  (folder / FILE).write_bytes(data)
  description = program.description(
    format="jax",
    program=FILE,
    program_sha256=checksum(data),
    platforms=PLATFORMS,
    jax=jax.__version__,
  )
  (folder / DOCUMENT).write_text(description, encoding="utf-8")
  return found


def runner(data: bytes) -> Any:
  """The program in a file: uint8 images -> outputs by name, as numpy arrays."""
  exported = export.deserialize(bytearray(data))

  def run(images: Any) -> dict[str, np.ndarray]:
    with comparison.on_cpu(), jax.default_matmul_precision("float32"):
      outputs: dict[str, np.ndarray] = jax.device_get(exported.call(images))
    return outputs

  return run

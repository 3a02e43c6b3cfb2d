"""Exported programs against JAX and the rules of answers: how far they differ."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from im21k.answers import calibration
from im21k.export.hedging import Hedging
from im21k.export.program import Program

LARGEST = 1e-5  # Of the logits' norm: float32 keeps 7 digits, and sums differ in order.
_ANSWERS = 1e-5
Outputs = Mapping[str, np.ndarray]
Pixels = UInt8[np.ndarray, "b h w 3"]


def compare(program: Program, what: str, run: Callable[[Pixels], Outputs]) -> float:
  """Runs an exported program and JAX on the same random images.

  Args:
    program: what was exported.
    what: names the exported program in errors.
    run: the exported program: uint8 images -> its outputs by name.

  Returns:
    The largest difference of a logit, over the norm of its image's logits.

  Raises:
    ValueError: it is above `LARGEST`, or an answer is not that of `answers.rules`.
  """
  images = program.sample()
  outputs, expected = run(images), reference(program, images)
  found = difference(outputs["logits"], expected)
  if not found <= LARGEST:
    raise ValueError(
      f"{what} differs from JAX by {found:.1e} of the logits' norm, more than "
      f"{LARGEST:g}: nothing is written; --format jax exports JAX's own program"
    )
  if program.hedging:
    check_answers(program.hedging, what, outputs)
  return found


def reference(program: Program, images: Pixels) -> Float[np.ndarray, "b classes"]:
  """Logits of JAX in full float32, on the CPU where JAX has it."""
  variables, normalize = program.released.variables, program.released.input.normalize

  @jax.jit
  def run(variables: Any, images: Any) -> Any:
    return program.model.apply(variables, normalize(images), train=False)[0]

  with on_cpu(), jax.default_matmul_precision("float32"):
    return np.asarray(run(variables, images))


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
  """Programs run on the CPU, unless JAX was told to leave it alone."""
  try:
    device = jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    device = jax.local_devices()[0]
  with jax.default_device(device):
    yield


def difference(
  logits: Float[np.ndarray, "b classes"], expected: Float[np.ndarray, "b classes"]
) -> float:
  """The largest difference, over the norm of its row of expected logits."""
  if logits.shape != expected.shape:
    raise ValueError(f"logits are {logits.shape}, but must be {expected.shape}")
  norm = np.linalg.norm(expected.astype(np.float64), axis=1)
  apart = np.abs(logits.astype(np.float64) - expected).max(1)
  return float((apart / np.maximum(norm, np.finfo(np.float32).tiny)).max())


def check_answers(hedging: Hedging, what: str, outputs: Outputs) -> None:
  """ValueError unless answers are those of `answers.rules` for the program's logits."""
  probabilities = calibration.softmax(outputs["logits"], hedging.temperature)
  nodes = hedging.hierarchy.probabilities(probabilities)
  value = nodes * hedging.reward()
  node, rows = outputs["node"], np.arange(len(nodes))
  apart = (
    np.abs(outputs["probabilities"] - probabilities).max(),
    (1 - value[rows, node] / value.max(1)).max(),
    np.abs(outputs["node_probability"] - nodes[rows, node]).max(),
  )
  if not max(apart) <= _ANSWERS:
    raise ValueError(
      f"the answers of {what} differ by {max(apart):.1e}, more than {_ANSWERS:g}: "
      "nothing is written; leave out answers, or use --format jax"
    )

"""`im21k export`: released weights -> a folder with a program for other software."""

import dataclasses
import importlib
import shutil
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from im21k import files, targets, weights
from im21k.answers import calibration
from im21k.export import prepare
from im21k.export.hedging import Hedging
from im21k.export.program import Program
from im21k.inference import choices
from im21k.synsets import hierarchy
from im21k.weights.input import LARGEST_SIDE

Format = Literal["jax", "onnx", "torch"]
_MODULES = {"jax": "stablehlo", "onnx": "onnx_file", "torch": "torch_files"}
_SMALLEST = 32  # Pixels; the network halves the side five times.
_ACCURACY = 0.9
_LARGEST = 2**31 - 2**26  # Bytes of arrays: a file of protobuf or flatbuffers has 2³¹.


def export(
  weights_dir: Path,
  out: Path,
  *,
  format: Format,
  answers: bool = False,
  accuracy: float | None = None,
  image_size: int | None = None,
) -> dict[str, Any]:
  """Writes weights as a program that runs without im21k.

  The program takes uint8 RGB images [batch, side, side, 3] and normalises them itself.
  The folder also holds prepare.py, which makes such images of photos, and im21k.json,
  which names input, outputs and classes.

  Args:
    weights_dir: Release folder of the weights.
    out: New folder to write.
    format: Kind of program: jax is StableHLO for JAX on CPU, CUDA and TPU; onnx is an
      ONNX file; torch is a PyTorch module in one file of code.
    answers: The program also returns calibrated probabilities and a hedged answer, the
      most specific term that is right as often as accuracy asks. Needs im21k calibrate.
    accuracy: Accuracy of hedged answers, one of those that were calibrated; 0.9 by
      default.
    image_size: Side of the program's images in pixels; by default as the weights say.

  Returns:
    `out`, `format`, `bytes` of all its files, `image_size`, `outputs`, and
    `difference`: the largest difference of a logit to JAX on random images, as a share
    of the logits' norm; None where PyTorch is not installed.

  Raises:
    FileNotFoundError: the weights are missing.
    FileExistsError: `out` exists.
    ValueError: a library is missing, the weights are damaged or not calibrated for such
      an answer, an option does not apply, or the program differs from JAX by more than
      1e-5.
  """
  if accuracy is not None and not answers:
    raise ValueError("accuracy is for hedged answers only: add --answers")
  if image_size is not None and not _SMALLEST <= image_size <= LARGEST_SIDE:
    raise ValueError(
      f"image_size is {image_size}, but must be {_SMALLEST} to {LARGEST_SIDE:,}"
    )
  if out.exists() or out.is_symlink():
    raise FileExistsError(f"out is {out}, which exists: name a new folder")
  weights_dir = weights.find(weights_dir)
  targets.check_folder([weights_dir], out=out)
  writer = importlib.import_module(f"im21k.export.{_MODULES[format]}")
  writer.check()
  program = make(weights_dir, answers, accuracy, image_size)
  _check_size(program, format)
  with files.whole_folder(out) as aside:
    difference = writer.write(program, aside)
    shutil.copyfile(prepare.__file__, aside / "prepare.py")
    size = sum(path.stat().st_size for path in aside.iterdir())
  return {
    "out": str(out),
    "format": format,
    "bytes": size,
    "image_size": program.released.input.size,
    "outputs": list(program.outputs()),
    "difference": difference,
  }


def make(
  weights_dir: Path,
  answers: bool = False,
  accuracy: float | None = None,
  image_size: int | None = None,
) -> Program:
  """What is to be exported; arguments and errors as of `export`."""
  released = weights.load(weights_dir)
  if image_size is not None:
    old = released.input
    short_side = max(image_size, round(image_size * old.short_side / old.size))
    resized = dataclasses.replace(old, size=image_size, short_side=short_side)
    released = dataclasses.replace(released, input=resized)
  if not answers:
    return Program(released)
  graph = hierarchy.over(released.classes)
  calibrated = calibration.load(weights_dir / weights.ARRAYS)
  accuracy = accuracy or _ACCURACY
  lambda_ = choices.lambda_of(weights_dir, calibrated, accuracy)
  assert calibrated
  return Program(released, Hedging(graph, calibrated.temperature, accuracy, lambda_))


def _check_size(program: Program, format: Format) -> None:
  """ValueError if the format's file cannot hold the arrays."""
  leaves = jax.tree.leaves(program.released.variables)
  size = sum(np.size(leaf) for leaf in leaves) * 4
  if format != "torch" and size > _LARGEST:
    raise ValueError(
      f"the arrays have {size:,} bytes, but a file of format {format} holds "
      f"{_LARGEST:,}: use --format torch"
    )


def text(result: dict[str, Any]) -> str:
  """The result of `export` for people."""
  side = result["image_size"]
  lines = [
    f"{result['out']}: {result['format']}, {result['bytes'] / 1e6:,.1f} MB",
    f"takes uint8 [batch, {side}, {side}, 3] in RGB, returns "
    f"{', '.join(result['outputs'])}",
  ]
  if result["difference"] is None:
    lines.append("not compared with JAX: PyTorch is not installed here")
  else:
    lines.append(
      f"largest difference to JAX: {result['difference']:.1e} of the logits' norm"
    )
  return "\n".join(lines)

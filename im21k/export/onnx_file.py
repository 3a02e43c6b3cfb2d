"""A program -> one ONNX file, checked and compared before it is written."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from im21k.export import comparison, extras, onnx_graph
from im21k.export.onnx_operations import KNOWN
from im21k.export.program import DOCUMENT, IMAGES, Outputs, Program, checksum

FILE = "model.onnx"
METADATA = "im21k"  # Key of the description within the file.


def check() -> None:
  """ValueError if a library is missing."""
  extras.need("onnx", "onnx", "onnxruntime")


def write(program: Program, folder: Path) -> float | None:
  """Writes program and description; returns the difference to JAX.

  Raises:
    ValueError: the model has an operation that is not exported, or the program differs
      from JAX's too much.
  """
  import onnx

  model = build(program)
  described = {"format": "onnx", "program": FILE, "opset": onnx_graph.OPSET}
  onnx.helper.set_model_props(model, {METADATA: program.description(**described)})
  data = model.SerializeToString()
  onnx.checker.check_model(data, full_check=True)
  found = comparison.compare(program, "the ONNX program in onnxruntime", runner(data))
  (folder / FILE).write_bytes(data)
  description = program.description(**described, program_sha256=checksum(data))
  (folder / DOCUMENT).write_text(description, encoding="utf-8")
  return found


def build(program: Program) -> Any:
  """The program as an ONNX model, of any batch."""
  import onnx

  (batch,) = export.symbolic_shape("batch")
  with comparison.on_cpu():
    traced, shapes = jax.make_jaxpr(program.run, return_shape=True)(
      program.images(batch)
    )
    graph = onnx_graph.Graph()
    images = onnx_graph.Tensor(IMAGES, 4)
    results = onnx_graph.convert(graph, traced, [images], KNOWN)
  outputs: Outputs = shapes
  names = sorted(outputs)  # The order of a mapping's leaves in JAX.
  for name, result in zip(names, results, strict=True):
    graph.result(result, name)
  made = onnx.helper.make_graph(
    graph.nodes,
    "im21k",
    [_described(IMAGES, program.images(batch))],
    [_described(name, outputs[name]) for name in program.outputs()],
    graph.arrays,
  )
  opset = onnx.helper.make_opsetid("", onnx_graph.OPSET)
  return onnx.helper.make_model(
    made, opset_imports=[opset], ir_version=onnx_graph.IR_VERSION, producer_name="im21k"
  )


def runner(data: bytes) -> Any:
  """The program in a file: uint8 images -> outputs by name, as numpy arrays."""
  import onnxruntime

  session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
  names = [output.name for output in session.get_outputs()]

  def run(images: Any) -> dict[str, np.ndarray]:
    return dict(zip(names, session.run(None, {IMAGES: images}), strict=True))

  return run


def _described(name: str, shaped: Any) -> Any:
  """Type and shape of an input or output; the batch is free."""
  import onnx

  kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(shaped.dtype))
  sides = [side if isinstance(side, int) else "batch" for side in shaped.shape]
  return onnx.helper.make_tensor_value_info(name, kind, sides)

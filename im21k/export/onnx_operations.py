"""The operations that a network's inference consists of, JAX's -> ONNX's."""

from typing import Any

import numpy as np
from jax import lax

from im21k.export.onnx_graph import FIRST, Graph, Operation, Tensor, Value

_ELEMENTWISE = {
  "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min",
  "exp": "Exp", "eq": "Equal", "log": "Log", "neg": "Neg", "sqrt": "Sqrt",
}  # fmt: skip
_TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9}  # ONNX's.


def _elementwise(op: str) -> Operation:
  def add(graph: Graph, inputs: list[Value], _: Any, out: Any) -> list[Value]:
    first = any(isinstance(x, Tensor) and x.first for x in inputs)
    (name,) = graph.add(op, *(graph.ordered(x, first) for x in inputs))
    return [Tensor(name, len(out.shape), first)]

  return add


def _same(graph: Graph, inputs: list[Value], _: Any, out: Any) -> list[Value]:
  return inputs


def _select(graph: Graph, inputs: list[Value], _: Any, out: Any) -> list[Value]:
  which, off, on = (graph.ordered(x, False) for x in inputs)
  return [Tensor(graph.add("Where", which, on, off)[0], len(out.shape))]


def _rsqrt(graph: Graph, inputs: list[Value], _: Any, out: Any) -> list[Value]:
  root = _elementwise("Sqrt")(graph, inputs, {}, out)
  return _elementwise("Reciprocal")(graph, root, {}, out)


def _cast(graph: Graph, inputs: list[Value], parameters: Any, out: Any) -> list[Value]:
  first = isinstance(inputs[0], Tensor) and inputs[0].first
  (name,) = graph.add("Cast", inputs[0], to=_TYPES[np.dtype(out.dtype).name])
  return [Tensor(name, len(out.shape), first)]


def _convolution(
  graph: Graph, inputs: list[Value], parameters: Any, out: Any
) -> list[Value]:
  x, kernel = inputs
  numbers = parameters["dimension_numbers"]
  plain = tuple(numbers) == (FIRST, (3, 2, 0, 1), FIRST)
  if not plain or set(parameters["lhs_dilation"]) != {1}:
    raise ValueError("a convolution of another layout than NHWC is not exported")
  (before, after) = zip(*parameters["padding"], strict=True)
  (name,) = graph.add(
    "Conv",
    graph.ordered(x, True),
    _array(kernel).transpose(3, 2, 0, 1),
    pads=[*map(int, before), *map(int, after)],
    strides=[*map(int, parameters["window_strides"])],
    dilations=[*map(int, parameters["rhs_dilation"])],
    group=int(parameters["feature_group_count"]),
  )
  return [Tensor(name, 4, True)]


def _pool(
  graph: Graph, op: str, inputs: list[Value], parameters: Any, **more: Any
) -> Tensor:
  windows = parameters["window_dimensions"]
  padding = parameters["padding"]
  dilations = *parameters["base_dilation"], *parameters["window_dilation"]
  beside = (windows[0], windows[3], *padding[0], *padding[3])
  if beside != (1, 1, 0, 0, 0, 0) or set(dilations) != {1}:
    raise ValueError("a pool over other axes than height and width is not exported")
  (before, after) = zip(*padding[1:3], strict=True)
  (name,) = graph.add(
    op,
    graph.ordered(inputs[0], True),
    kernel_shape=[*map(int, windows[1:3])],
    strides=[*map(int, parameters["window_strides"][1:3])],
    pads=[*map(int, before), *map(int, after)],
    **more,
  )
  return Tensor(name, 4, True)


def _max_pool(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  return [_pool(graph, "MaxPool", inputs, p)]


def _sum_pool(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  mean = _pool(graph, "AveragePool", inputs, p, count_include_pad=1)
  count = np.array(np.prod(p["window_dimensions"]), np.float32)
  return [Tensor(graph.add("Mul", mean, count)[0], 4, True)]


def _concatenate(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  first = any(isinstance(x, Tensor) and x.first for x in inputs)
  axis = _axis(p["dimension"], first)
  ordered = (graph.ordered(x, first) for x in inputs)
  return [Tensor(graph.add("Concat", *ordered, axis=axis)[0], len(out.shape), first)]


def _split(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  x = _tensor(inputs[0])
  sizes, axis = np.array(p["sizes"], np.int64), _axis(p["axis"], x.first)
  if len(sizes) == 1:
    return [x]
  names = graph.add("Split", x, sizes, outputs=len(sizes), axis=axis)
  return [Tensor(name, x.rank, x.first) for name in names]


def _pad(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  before, after, inside = zip(*p["padding_config"], strict=True)
  if any(inside):
    raise ValueError("padding between the elements of a tensor is not exported")
  x, value = graph.ordered(inputs[0], False), _array(inputs[1])
  edges = np.array([*before, *after], np.int64)
  return [Tensor(graph.add("Pad", x, edges, value)[0], len(out.shape))]


def _broadcast(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  """New axes of size 1, which what follows stretches."""
  x, kept = graph.ordered(inputs[0], False), p["broadcast_dimensions"]
  rank = len(out.shape)
  new = [axis for axis in range(rank) if axis not in kept]
  if isinstance(x, np.ndarray):
    return [np.expand_dims(x, tuple(new))]
  if not new:
    return [x]
  return [Tensor(graph.add("Unsqueeze", x, np.array(new, np.int64))[0], rank)]


def _reshape(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  sides = [side if isinstance(side, int) else -1 for side in out.shape]
  if sides.count(-1) > 1:
    raise ValueError("a reshape with the batch in two axes is not exported")
  x = graph.ordered(inputs[0], False)
  name = graph.add("Reshape", x, np.array(sides, np.int64))[0]
  return [Tensor(name, len(sides))]


def _reduced(op: str) -> Operation:
  def add(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
    x = _tensor(inputs[0])
    axes = [_axis(axis, x.first) for axis in p["axes"]]
    if x.first and out.shape and len(out.shape) > 2:
      x, axes = _tensor(graph.ordered(x, False)), list(p["axes"])
    if op == "ReduceSum":  # Axes are an input there, and in ReduceMax from opset 18 on.
      (name,) = graph.add(op, x, np.array(axes, np.int64), keepdims=0)
    else:
      (name,) = graph.add(op, x, axes=axes, keepdims=0)
    return [Tensor(name, len(out.shape))]

  return add


def _argmax(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  (axis,) = p["axes"]
  x = graph.ordered(inputs[0], False)
  (name,) = graph.add("ArgMax", x, axis=int(axis), keepdims=0)
  return _cast(graph, [Tensor(name, len(out.shape))], {}, out)


def _dot(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  x, y = inputs
  if p["dimension_numbers"] != (((1,), (0,)), ((), ())):
    raise ValueError("a product of other tensors than two matrices is not exported")
  return [Tensor(graph.add("MatMul", x, y)[0], 2)]


def _gather(graph: Graph, inputs: list[Value], p: Any, out: Any) -> list[Value]:
  """Columns of a matrix, by numbers that are the same for all images."""
  x, indices = _tensor(inputs[0]), _array(inputs[1])
  columns = lax.GatherDimensionNumbers(
    offset_dims=(0,), collapsed_slice_dims=(1,), start_index_map=(1,)
  )
  if x.rank != 2 or p["dimension_numbers"] != columns or p["slice_sizes"][1] != 1:
    raise ValueError("a gather of other things than columns is not exported")
  name = graph.add("Gather", x, indices[..., 0].astype(np.int32), axis=1)[0]
  return [Tensor(name, len(out.shape))]


def _axis(axis: int, first: bool) -> int:
  return FIRST.index(axis) if first else int(axis)


def _tensor(value: Value) -> Tensor:
  assert isinstance(value, Tensor)
  return value


def _array(value: Value) -> np.ndarray:
  if isinstance(value, Tensor):
    raise ValueError("an operation by what depends on the image is not exported")
  return value


KNOWN: dict[str, Operation] = {
  **{name: _elementwise(op) for name, op in _ELEMENTWISE.items()},
  "argmax": _argmax,
  "broadcast_in_dim": _broadcast,
  "concatenate": _concatenate,
  "conv_general_dilated": _convolution,
  "convert_element_type": _cast,
  "copy": _same,
  "dot_general": _dot,
  "gather": _gather,
  "name": _same,
  "pad": _pad,
  "reduce_max": _reduced("ReduceMax"),
  "reduce_sum": _reduced("ReduceSum"),
  "reduce_window_max": _max_pool,
  "reduce_window_sum": _sum_pool,
  "reshape": _reshape,
  "rsqrt": _rsqrt,
  "select_n": _select,
  "split": _split,
  "squeeze": _reshape,
  "stop_gradient": _same,
}

"""A JAX function -> an ONNX graph, operation by operation.

In: a function that has been traced (a jaxpr). Out: ONNX nodes and arrays. What depends
on weights alone is computed here, once. Only what inference needs is known: an
operation beyond it is an error that names it. `jax2onnx` knows more, but its releases
need an orbax-checkpoint below 0.12, and a viewer, a hub client and three other network
libraries.

JAX keeps channels last, ONNX first: a tensor of four axes stays in the order in which
it was made for as long as no operation needs the other.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

OPSET, IR_VERSION = 17, 8  # Of 2022: onnxruntime from 1.13 on reads them.
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # To channels first, and back.


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor of the graph.

  Attributes:
    name: in the graph.
    rank: number of axes.
    first: whether channels are its second axis, where JAX has them last.
  """

  name: str
  rank: int
  first: bool = False


Value = Tensor | np.ndarray  # An array is the same for all images.


class Graph:
  """Nodes and arrays of an ONNX graph, in the order in which they are added."""

  def __init__(self) -> None:
    import onnx

    self._onnx = onnx
    self.nodes: list[Any] = []
    self.arrays: list[Any] = []
    self._swapped: dict[Tensor, Tensor] = {}

  def add(
    self, op: str, *inputs: Value, outputs: int = 1, **attributes: Any
  ) -> list[str]:
    """Adds a node; returns the names of its results."""
    made = [f"{op.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
    names = [self._name(value) for value in inputs]
    self.nodes.append(self._onnx.helper.make_node(op, names, made, **attributes))
    return made

  def result(self, value: Value, name: str) -> None:
    """Makes a value an output, by a name of its own."""
    inputs = [self._name(self.ordered(value, False))]
    self.nodes.append(self._onnx.helper.make_node("Identity", inputs, [name]))

  def ordered(self, value: Value, first: bool) -> Value:
    """The value with channels first, or last; other ranks than 4 have no such order."""
    if isinstance(value, np.ndarray):
      return value.transpose(FIRST) if first and value.ndim == 4 else value
    if value.rank != 4 or value.first == first:
      return value
    if value not in self._swapped:
      (name,) = self.add("Transpose", value, perm=FIRST if first else LAST)
      self._swapped[value] = Tensor(name, 4, first)
    return self._swapped[value]

  def _name(self, value: Value) -> str:
    if isinstance(value, Tensor):
      return value.name
    name = f"array_{len(self.arrays)}"
    array = np.ascontiguousarray(value).reshape(value.shape)
    self.arrays.append(self._onnx.numpy_helper.from_array(array, name))
    return name


Operation = Callable[[Graph, list[Value], dict[str, Any], Any], list[Value]]


def convert(
  graph: Graph, closed: Any, inputs: Sequence[Value], known: dict[str, Operation]
) -> list[Value]:
  """Adds the operations of a jaxpr to a graph; returns its results.

  Args:
    graph: grows.
    closed: the jaxpr, closed over its constants.
    inputs: its arguments.
    known: by name of the primitive, what adds it: `(graph, inputs, parameters,
      abstract result)` -> results.

  Raises:
    ValueError: it holds an operation that is not known here.
  """
  jaxpr = closed.jaxpr
  values: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
  values |= zip(jaxpr.constvars, map(np.asarray, closed.consts), strict=True)

  def value(atom: Any) -> Value:
    return np.asarray(atom.val) if isinstance(atom, core.Literal) else values[atom]

  for equation in jaxpr.eqns:
    results = _converted(graph, equation, list(map(value, equation.invars)), known)
    values |= zip(equation.outvars, results, strict=True)
  return [value(atom) for atom in jaxpr.outvars]


def _converted(
  graph: Graph, equation: Any, inputs: list[Value], known: dict[str, Operation]
) -> list[Value]:
  name, parameters = equation.primitive.name, equation.params
  if name == "platform_index":  # Not the form that is made for XLA's CPU backend.
    platforms = parameters["platforms"]
    return [np.array(platforms.index(None) if None in platforms else 0, np.int32)]
  if name == "cond" and isinstance(inputs[0], np.ndarray):
    branch = parameters["branches"][int(inputs[0])]
    return convert(graph, branch, inputs[1:], known)
  for key in ("call_jaxpr", "jaxpr", "fun_jaxpr"):
    if key in parameters:
      return convert(graph, parameters[key], inputs, known)
  if all(isinstance(one, np.ndarray) for one in inputs) and _is_fixed(equation):
    made = equation.primitive.bind(*inputs, **parameters)
    several = made if equation.primitive.multiple_results else [made]
    return [np.asarray(one) for one in jax.device_get(several)]
  if name not in known:
    raise ValueError(
      f"the model has an operation that im21k does not export to ONNX, {name!r}: "
      "export it with --format jax"
    )
  return known[name](graph, inputs, parameters, equation.outvars[0].aval)


def _is_fixed(equation: Any) -> bool:
  """Whether no size of the results depends on the batch."""
  shapes = (out.aval.shape for out in equation.outvars)
  return all(isinstance(side, int) for shape in shapes for side in shape)

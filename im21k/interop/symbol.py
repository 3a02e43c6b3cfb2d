"""MXNet's symbol files: a graph of operations as JSON, out only."""

from collections.abc import Sequence
from typing import Any


class Graph:
  """A graph that grows; operations are known by the number of their node."""

  def __init__(self) -> None:
    self._nodes: list[dict[str, Any]] = []
    self._arguments: list[int] = []

  def add(
    self,
    operation: str,
    name: str,
    inputs: Sequence[int],
    arguments: Sequence[str] = (),
    **attributes: Any,
  ) -> int:
    """Adds an operation and its own arguments, called `name_argument`.

    Args:
      operation: MXNet's name of it; `null` is an input of the graph.
      name: of the node.
      inputs: nodes whose results it takes.
      arguments: of its own: weight, bias, …
      attributes: numbers, strings, booleans and tuples, as MXNet spells them.

    Returns:
      The new node.
    """
    own = [self._input(f"{name}_{argument}") for argument in arguments]
    if operation == "null":
      return self._input(name)
    node: dict[str, Any] = {"op": operation, "name": name}
    if attributes:
      node["attrs"] = {key: str(value) for key, value in attributes.items()}
    node["inputs"] = [[source, 0, 0] for source in (*inputs, *own)]
    self._nodes.append(node)
    return len(self._nodes) - 1

  def document(self) -> dict[str, Any]:
    """The file's content; the node added last is the result."""
    return {
      "nodes": self._nodes,
      "arg_nodes": self._arguments,
      "node_row_ptr": list(range(len(self._nodes) + 1)),
      "heads": [[len(self._nodes) - 1, 0, 0]],
      "attrs": {"mxnet_version": ["int", 10901]},
    }

  def _input(self, name: str) -> int:
    self._nodes.append({"op": "null", "name": name, "inputs": []})
    self._arguments.append(len(self._nodes) - 1)
    return self._arguments[-1]

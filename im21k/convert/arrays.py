"""MXNet's arrays by name <-> the variables of an Inception-BN.

MXNet's kernels are `[out, in, h, w]`, and its classes have the order of a label list.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
from flax import traverse_util
from jaxtyping import Float32, Int

from im21k import models
from im21k.weights.arrays import check_shapes, fault

Path = tuple[str, ...]

_LEAVES = {
  ("conv", "kernel"): ("arg", "conv", "weight"),
  ("conv", "bias"): ("arg", "conv", "bias"),
  ("bn", "scale"): ("arg", "bn", "gamma"),
  ("bn", "bias"): ("arg", "bn", "beta"),
  ("bn", "mean"): ("aux", "bn", "moving_mean"),
  ("bn", "var"): ("aux", "bn", "moving_var"),
}
_REMEDY = "copy or export the .params file again"
# The file of 1,000 classes has other names for its stem.
_STEM_1K = {"conv1": "1", "conv2red": "2_red", "conv2": "2"}


def name_of(path: Path) -> str:
  """`("params", "block_3a", "1x1", "conv", "kernel")` -> `arg:conv_3a_1x1_weight`."""
  _, *modules, layer, leaf = path
  if not modules:
    return f"arg:fc1_{'weight' if leaf == 'kernel' else 'bias'}"
  kind, prefix, suffix = _LEAVES[layer, leaf]
  module = "_".join(modules).removeprefix("block_")
  return f"{kind}:{prefix}_{module}_{suffix}"


def name_in_1k(path: Path) -> str:
  """The name in the file of 1,000 classes."""
  name, stem = name_of(path), path[1]
  return name.replace(f"_{stem}_", f"_{_STEM_1K[stem]}_") if stem in _STEM_1K else name


def from_mxnet(
  path: Path, array: npt.NDArray[Any], order: Int[np.ndarray, " classes"] | None = None
) -> Float32[np.ndarray, "..."]:
  """Brings an array of MXNet to the layout of the variable at `path`.

  An array of a wrong shape keeps a wrong shape.

  Args:
    path: of the variable.
    array: of any type.
    order: for each of our classes its place in MXNet's list; None: the same order.
  """
  array = array.astype(np.float32, copy=False)
  if path[1] == "head":
    if order is not None and len(array) == len(order):
      array = array[order]
    return array.T
  return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_mxnet(
  path: Path, array: npt.NDArray[Any], order: Int[np.ndarray, " classes"] | None = None
) -> npt.NDArray[Any]:
  """The inverse of `from_mxnet`: `order` gives our class at each place of MXNet's."""
  if path[1] == "head":
    array = array.T
    return array if order is None else array[order]
  return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def flat(variables: Any) -> dict[Path, Any]:
  """The leaves of a tree of dicts, by path."""
  leaves: dict[Path, Any] = traverse_util.flatten_dict(variables)
  return leaves


def _outside(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape in MXNet's file of the variable at `path`."""
  made: tuple[int, ...] = to_mxnet(path, np.empty(shape, bool)).shape
  return made


def variables(
  name: str,
  fields: Mapping[str, Any],
  arrays: Mapping[str, npt.NDArray[Any]],
  order: Int[np.ndarray, " classes"],
  where: str,
) -> dict[str, Any]:
  """Makes the variables of a model from MXNet's arrays.

  Args:
    name: of the model.
    fields: of the model.
    arrays: by MXNet's names.
    order: for each of our classes its place in MXNet's list.
    where: file that the arrays come from, for messages.

  Raises:
    ValueError: arrays are missing, unknown, of another shape or type, not finite, or
      variances are negative; names the first of them.
  """
  model = models.create(name, **fields)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
  shapes = flat(
    jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
  )
  spell = name_in_1k if "arg:conv_1_weight" in arrays else name_of
  wanted = {path: spell(path) for path in shapes}
  check_shapes(
    where,
    {key: array.shape for key, array in arrays.items()},
    {spell(path): _outside(path, leaf.shape) for path, leaf in shapes.items()},
    _REMEDY,
  )
  for key, array in arrays.items():
    reason = fault(key, array) if array.dtype.kind == "f" else f"is {array.dtype}"
    if reason:
      raise ValueError(f"{where}: {key} {reason}, so no model of 2015: {_REMEDY}")
  leaves = {path: from_mxnet(path, arrays[key], order) for path, key in wanted.items()}
  tree: dict[str, Any] = traverse_util.unflatten_dict(leaves)
  return tree

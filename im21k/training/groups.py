"""The section `optimizer.groups`: multiples of rate and decay by part of the net.

A part is the head; of the trunk the kernels; BatchNorm's scales and biases ("norms");
or the biases of convolutions. In comes a tree of parameters, out comes a like tree of
parts or of numbers.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax

from im21k.training.keys import key
from im21k.training.values import Bounds
from im21k.weights.heads import HEAD

Part = Literal["head", "kernels", "norms", "biases"]
_MULTIPLE = Bounds(0, 1e6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups:
  """Keys of the multiples, two of each part."""

  head_rate: float = key(
    1.0, "Multiple of the learning rate in the head.", bounds=_MULTIPLE
  )
  head_decay: float = key(
    1.0, "Multiple of weight_decay in the head.", bounds=_MULTIPLE
  )
  kernels_rate: float = key(
    1.0, "Multiple of the learning rate of the trunk's kernels.", bounds=_MULTIPLE
  )
  kernels_decay: float = key(
    1.0, "Multiple of weight_decay of the trunk's kernels.", bounds=_MULTIPLE
  )
  norms_rate: float = key(
    1.0, "Multiple of the learning rate of BatchNorm's scales and biases.",
    bounds=_MULTIPLE,
  )  # fmt: skip
  norms_decay: float = key(
    1.0, "Multiple of weight_decay of BatchNorm's scales and biases.",
    bounds=_MULTIPLE,
  )  # fmt: skip
  biases_rate: float = key(
    1.0, "Multiple of the learning rate of the trunk's biases outside BatchNorm.",
    bounds=_MULTIPLE,
  )  # fmt: skip
  biases_decay: float = key(
    1.0, "Multiple of weight_decay of the trunk's biases outside BatchNorm.",
    bounds=_MULTIPLE,
  )  # fmt: skip

  @property
  def changes_rates(self) -> bool:
    """Whether a part has a rate of its own."""
    return any(value != 1 for value in self._multiples("rate").values())

  @property
  def changes_decays(self) -> bool:
    """Whether a part has a decay of its own."""
    return any(value != 1 for value in self._multiples("decay").values())

  def rates(self, params: Any, trunk_rate: float = 1.0) -> Any:
    """The multiple of each parameter's rate; `trunk_rate` is another of the trunk's."""
    multiples = self._multiples("rate")
    return jax.tree.map(
      lambda part: multiples[part] * (1.0 if part == "head" else trunk_rate),
      parts(params),
    )

  def decays(self, params: Any) -> Any:
    """The multiple of the decay of each parameter."""
    multiples = self._multiples("decay")
    return jax.tree.map(lambda part: multiples[part], parts(params))

  def _multiples(self, of: str) -> dict[str, float]:
    values = dataclasses.asdict(self)
    return {
      name.removesuffix(f"_{of}"): value
      for name, value in values.items()
      if name.endswith(f"_{of}")
    }


def parts(params: Any) -> Any:
  """The part of each parameter: a tree of `Part` in the form of `params`.

  Args:
    params: nested dicts of arrays or shapes, the head's under `head`. Beside a
      BatchNorm's `bias` there is its `scale`; other parameters of one axis are biases.
  """
  return {
    name: jax.tree.map(lambda _: "head", inner) if name == HEAD else _of_trunk(inner)
    for name, inner in params.items()
  }


def _of_trunk(params: Any) -> Any:
  if not isinstance(params, Mapping):
    return _by_shape(params)
  if "scale" in params:
    return jax.tree.map(lambda _: "norms", params)
  return {name: _of_trunk(inner) for name, inner in params.items()}


def _by_shape(params: Any) -> Any:
  return jax.tree.map(lambda x: "kernels" if x.ndim > 1 else "biases", params)

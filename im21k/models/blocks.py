"""The blocks of Inception-BN: their tables, and the module that a row describes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from im21k.models import layers

# name: (1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool, projection);
# a block without 1x1 and projection halves the side.
Row = tuple[int, int, int, int, int, str, int]
_TOP: dict[str, Row] = {
  "4a": (224, 64, 96, 96, 128, "avg", 128),
  "4b": (192, 96, 128, 96, 128, "avg", 128),
  "4c": (160, 128, 160, 128, 160, "avg", 128),
  "4d": (96, 128, 192, 160, 192, "avg", 128),
  "4e": (0, 128, 192, 192, 256, "max", 0),
  "5a": (352, 192, 320, 160, 224, "avg", 128),
  "5b": (352, 192, 320, 192, 224, "max", 128),
}
STAGES: dict[str, tuple[tuple[int, int, int], dict[str, Row]]] = {
  "wide": (
    (96, 128, 288),
    {
      "3a": (96, 96, 96, 96, 144, "avg", 48),
      "3b": (96, 96, 144, 96, 144, "avg", 96),
      "3c": (0, 192, 240, 96, 144, "max", 0),
      **_TOP,
      "4d": (96, 128, 192, 160, 96, "avg", 128),
    },
  ),
  "plain": (
    (64, 64, 192),
    {
      "3a": (64, 64, 64, 64, 96, "avg", 32),
      "3b": (64, 64, 96, 64, 96, "avg", 64),
      "3c": (0, 128, 160, 64, 96, "max", 0),
      **_TOP,
    },
  ),
}


class Block(nn.Module):
  """One Inception block: parallel branches, joined along the channels.

  All pointwise convolutions of the block's input are a single one. An average of
  projections is the projection of the average, and there are fewer channels to average.

  Attributes:
    row: channels of the branches.
    conv_bn: makes a layer, given features, kernel and the other fields of `ConvBN`.
    pooling: see `layers.max_pool`.
    average_pool: see `layers.local_pool`.
  """

  row: Row
  conv_bn: Any
  pooling: str
  average_pool: str

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    n1, n3_reduce, n3, double_reduce, double, pool, projection = self.row
    halving = not n1
    strides = 2 if halving else 1
    conv3 = functools.partial(self.conv_bn, kernel=3, padding=1)
    pointwise = {"3x3_reduce": n3_reduce, "double_3x3_reduce": double_reduce}
    if n1:
      pointwise["1x1"] = n1
    if pool == "avg":
      pointwise["proj"] = projection
    made = {name: self.conv_bn(n, 1, name=name) for name, n in pointwise.items()}
    convolved = layers.convolved(list(made.values()), x, train)
    if pool == "avg":
      y, bias = convolved.pop()
      convolved.append((layers.local_pool(y, pool, self.average_pool), bias))
    parts = {
      name: layer.rectified(part, train)
      for (name, layer), part in zip(made.items(), convolved, strict=True)
    }
    branches = [parts["1x1"]] if n1 else []
    branches.append(conv3(n3, strides=strides, name="3x3")(parts["3x3_reduce"], train))
    y = conv3(double, name="double_3x3_0")(parts["double_3x3_reduce"], train)
    branches.append(conv3(double, strides=strides, name="double_3x3_1")(y, train))
    if halving:
      branches.append(layers.max_pool(x, self.pooling, halving=True))
    elif pool == "avg":
      branches.append(parts["proj"])
    else:
      y = layers.local_pool(x, pool, self.average_pool)
      branches.append(self.conv_bn(projection, 1, name="proj")(y, train))
    return jnp.concatenate(branches, axis=-1)

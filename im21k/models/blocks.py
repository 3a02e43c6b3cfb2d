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
  """One Inception block: parallel branches, joined along the channels."""

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
    branches = []
    if n1:
      branches.append(self.conv_bn(n1, 1, name="1x1")(x, train))
    y = self.conv_bn(n3_reduce, 1, name="3x3_reduce")(x, train)
    branches.append(conv3(n3, strides=strides, name="3x3")(y, train))
    y = self.conv_bn(double_reduce, 1, name="double_3x3_reduce")(x, train)
    y = conv3(double, name="double_3x3_0")(y, train)
    branches.append(conv3(double, strides=strides, name="double_3x3_1")(y, train))
    if halving:
      branches.append(layers.max_pool(x, self.pooling, halving=True))
    else:
      y = layers.local_pool(x, pool, self.average_pool)
      branches.append(self.conv_bn(projection, 1, name="proj")(y, train))
    return jnp.concatenate(branches, axis=-1)

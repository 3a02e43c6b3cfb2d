"""Inception-BN, the network of the original system, wide ("21k") and plain ("1k").

Both are one table of blocks over one class. With their default fields they are the
networks that were trained in 2015: 33,619,969 parameters for 21,841 classes and
11,295,240 for 1,000 (tests count them), 3.42 and 2.03 GMAC an image at 224².
Ioffe & Szegedy 2015, "Batch Normalization", describe the plain one.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from im21k.models import layers, normalization, remat
from im21k.models.blocks import STAGES, Block
from im21k.models.registry import check_limits, nearest, register
from im21k.models.remat import Observed, Remat

_Run = Callable[[Sequence[remat.Layer], jax.Array, str], jax.Array]


class InceptionBN(nn.Module):
  """Inception-BN for images `[b, h, w, 3]`, float, normalised; any side from 32 up.

  Attributes:
    num_classes: outputs of the head; None leaves the head out and returns the
      pooled features `[b, 1024 · width]` in the logits' place.
    table: `wide` (the 21,841-class net) or `plain` (the 1,000-class net).
    width: multiplies every channel count (rounded to a multiple of 8, 8 at least).
    dtype: of the arithmetic; parameters, statistics and logits stay float32.
    remat: what backprop recomputes instead of keeping it: `none`; `norm`, all but the
      convolutions; `block`, each segment from its input; or a mapping of names of
      `segments` to these policies, `none` for those that it does not name. See `remat`.
    pooling: `ceil` or `floor`: the geometry of pools of stride 2 (see `layers`).
    average_pool: `ignored` or `counted`: padding in the divisor of averages.
    bn_epsilon, bn_momentum: of BatchNorm: moving = momentum · moving +
      (1 − momentum) · batch. The original's are 1e-10 and 0.1.
    bn_axis_name: mapped axis over which BatchNorm's statistics are shared; None: each
      device its own.
    init_scale: kernels start uniform in ± this (the original's 0.01).
    head_bias: bias of every class at the start (the original's 0).
    prepare: applied to the images in the first segment, such as a normalisation of
      uint8 pixels, of which backprop then keeps only these; None: images come prepared.
    observe: called with each segment in training; see `remat.Observed`.
    reduce: applied to each segment's gradients inside backprop, the head's first, such
      as a mean over devices, which then runs beside the backprop of earlier segments.
      Takes and returns a tree of gradients.
  """

  num_classes: int | None = 21841
  table: str = "wide"
  width: float = 1.0
  dtype: Any = "float32"
  remat: Remat = "none"
  pooling: str = "ceil"
  average_pool: str = "ignored"
  bn_epsilon: float = 1e-10
  bn_momentum: float = 0.1
  bn_axis_name: str | None = None
  init_scale: float = 0.01
  head_bias: float = 0.0
  prepare: Callable[[jax.Array], jax.Array] | None = None
  observe: Callable[[Observed], None] | None = None
  reduce: Callable[[Any], Any] | None = None

  def __post_init__(self) -> None:
    for field, known in (
      ("table", tuple(STAGES)),
      ("pooling", layers.POOLINGS),
      ("average_pool", layers.AVERAGE_POOLS),
      ("dtype", ("float32", "bfloat16")),
    ):
      value = getattr(self, field)
      if field == "dtype":
        value = jnp.dtype(value).name if not isinstance(value, str) else value
      if value not in known:
        raise ValueError(f"{field} is {value!r}{nearest(str(value), known)}")
    self.remat = remat.canonical(self.remat, _segments(self.table))
    super().__post_init__()
    if not self.width > 0:
      raise ValueError(f"width is {self.width}, but must be above 0")
    check_limits(
      self, num_classes=(1, 2**20), width=(0, 64), bn_epsilon=(0, 1),
      bn_momentum=(0, 1), init_scale=(0, 1000), head_bias=(-1000, 1000),
    )  # fmt: skip

  @nn.compact
  def __call__(
    self, x: jax.Array, *, train: bool
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns `(logits, out)`.

    Logits are `[b, num_classes]` float32. `out` names every stage: `conv1`, `pool1`,
    `conv2red`, `conv2`, `pool2`, `3a` … `5b`, `features` (pooled), `logits`. In
    training with `remat` or `reduce`, `conv1`, `conv2red` and `conv2` are not kept, nor
    named.
    """
    if x.ndim != 4 or x.shape[-1] != 3:
      raise ValueError(f"images must be [b, h, w, 3], but are {x.shape}")
    dtype = jnp.dtype(self.dtype)
    conv_bn = self._conv_bn()
    widths, rows = STAGES[self.table]
    c1, c2_reduce, c2 = (self.channels(c) for c in widths)
    out: dict[str, jax.Array] = {}

    policies = remat.policies(self.remat, self.segments)
    segmented = train and not self.is_initializing()
    special = self.reduce or self.observe or self.remat != "none"
    segmented = segmented and bool(special)
    segments = remat.Segments(self.reduce, self.observe)
    run: _Run = segments.run if segmented else _call

    def layer(module: nn.Module, x: jax.Array) -> jax.Array:
      return _array(module(x, train))

    def named(module: nn.Module, x: jax.Array) -> jax.Array:
      x = layer(module, x)
      if not segmented:
        out[str(module.name)] = x
      return x

    def pooled(module: Any, x: jax.Array) -> jax.Array:
      y, maxima = module.pooled(x, train, self.pooling)
      if not segmented:
        out[str(module.name)] = y
      return _array(maxima)

    def first(module: nn.Module, x: jax.Array) -> jax.Array:
      x = self.prepare(x) if self.prepare else x
      return pooled(module, x.astype(dtype))

    conv1 = conv_bn(c1, 7, strides=2, padding=3, name="conv1")
    conv2_reduce = conv_bn(c2_reduce, 1, name="conv2red")
    conv2 = conv_bn(c2, 3, padding=1, name="conv2")
    out["pool1"] = x = run([(conv1, first)], x, policies["conv1"])  # 56² at 224²
    stem = [(conv2_reduce, named), (conv2, pooled)]
    out["pool2"] = x = run(stem, x, policies["conv2"])  # 28²
    for name, row in rows.items():  # 14² from 3c on, 7² from 4e on
      *counts, pool, projection = row
      scaled: Any = (*map(self.channels, counts), pool, self.channels(projection))
      block = Block(
        scaled, conv_bn, self.pooling, self.average_pool, name=f"block_{name}"
      )
      out[name] = x = run([(block, layer)], x, policies[name])
    out["features"] = x = x.mean(axis=(1, 2), dtype=jnp.float32)  # [b, 1024]
    if self.num_classes is None:
      return x, out
    uniform = _uniform(self.init_scale)
    head = nn.Dense(
      self.num_classes, dtype=dtype, kernel_init=uniform,
      bias_init=nn.initializers.constant(self.head_bias), name="head",
    )  # fmt: skip
    # The head has nothing to recompute.
    x = run([(head, lambda head, x: _array(head(x)))], x, "none")
    out["logits"] = x = x.astype(jnp.float32)
    return x, out

  @property
  def segments(self) -> tuple[str, ...]:
    """Names of the parts with a policy of their own, in the forward order."""
    return _segments(self.table)

  def channels(self, count: int) -> int:
    """Channels of a layer that has `count` at width 1; 0 stays 0."""
    return max(8, round(count * self.width / 8) * 8) if count else 0

  def _conv_bn(self) -> Callable[..., layers.ConvBN]:
    """Makes the network's layers, given `ConvBN`'s remaining fields."""
    norm = functools.partial(
      normalization.BatchNorm,
      momentum=self.bn_momentum,
      epsilon=self.bn_epsilon,
      axis_name=self.bn_axis_name,
    )
    return functools.partial(
      layers.ConvBN, norm=norm, kernel_init=_uniform(self.init_scale)
    )


def _segments(table: str) -> tuple[str, ...]:
  return ("conv1", "conv2", *STAGES[table][1])  # conv2red is a part of conv2


def _call(layers: Sequence[remat.Layer], x: jax.Array, policy: str) -> jax.Array:
  """Runs a segment without a backward pass of its own; see `remat.Segments.run`."""
  del policy
  for module, call in layers:
    x = call(module, x)
  return x


def _array(x: Any) -> jax.Array:
  """The result of a module, which Flax leaves untyped."""
  array: jax.Array = x
  return array


def _uniform(scale: float) -> Any:
  def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -scale, scale)

  return init


@register
def inception_bn_21k(**fields: Any) -> InceptionBN:
  """The wide net of the 21,841-class model, with the original's settings."""
  return InceptionBN(**{"table": "wide", "num_classes": 21841, **fields})


@register
def inception_bn_1k(**fields: Any) -> InceptionBN:
  """The plain net of the 1,000-class model, with the original's settings."""
  return InceptionBN(**{"table": "plain", "num_classes": 1000, **fields})

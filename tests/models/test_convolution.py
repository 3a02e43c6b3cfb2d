"""`conv2d` is `lax.conv_general_dilated`, on every backend and through gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from im21k import models
from im21k.models import convolution

NHWC = ("NHWC", "HWIO", "NHWC")


def plain(x, w, strides, padding, **options):
  return lax.conv_general_dilated(
    x, w, strides, padding, dimension_numbers=NHWC, **options
  )


def fast(x, w, strides, padding, **options):
  return convolution.conv2d(x, w, strides, padding, dimension_numbers=NHWC, **options)


def normal(seed, shape, dtype="float32"):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def value_and_gradients(conv, x, w, strides, padding, **options):
  """Output and both gradients, for an output gradient without pattern."""

  @jax.jit
  def all_of(x, w):
    y, pull = jax.vjp(lambda x, w: conv(x, w, strides, padding, **options), x, w)
    return y, *pull(normal(3, y.shape, y.dtype))

  return all_of(x, w)


def assert_near(ours, theirs, rtol=1e-5):
  for a, b in zip(ours, theirs, strict=True):
    assert a.shape == b.shape and a.dtype == b.dtype
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    assert np.abs(a - b).max(initial=0) <= rtol * np.abs(b).max(initial=1e-30)


@st.composite
def convolutions(draw):
  kernel, strides, sides, pads = [], [], [], []
  for _ in range(2):
    k = draw(st.integers(1, 7))
    low, high = (draw(st.integers(0, k - 1)) for _ in range(2))
    stride = draw(st.integers(1, 3))
    if (k, stride, low, high) == (2, 2, 1, 1):
      # Compiling lax's own filter gradient aborts jaxlib 0.10.2 for many of these; no
      # other of 2,100 geometries did.
      high = 0
    kernel.append(k)
    strides.append(stride)
    sides.append(draw(st.integers(max(1, k - low - high), 12)))
    pads.append((low, high))
  # With one channel in or out jaxlib 0.12.0.1 aborts on gradients of lax's own too.
  b, c, o = draw(st.integers(1, 5)), draw(st.integers(2, 4)), draw(st.integers(2, 4))
  return (b, *sides, c), (*kernel, c, o), tuple(strides), tuple(pads)


@settings(max_examples=10, deadline=None)
@given(convolutions())
def test_equals_lax_for_any_geometry(case):
  image, kernel, strides, pads = case
  x, w = normal(0, image), normal(1, kernel)
  ours = value_and_gradients(fast, x, w, strides, pads)
  assert_near(ours, value_and_gradients(plain, x, w, strides, pads))


@pytest.mark.parametrize("dimension", [0, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_an_empty_batch_or_side(dimension, kernel):
  shape = [2, 5, 5, 3]
  shape[dimension] = 0
  x, w = normal(0, shape), normal(1, (kernel, kernel, 3, 4))
  pads = ((kernel // 2, kernel // 2),) * 2
  ours = value_and_gradients(fast, x, w, (1, 1), pads)
  assert_near(ours, value_and_gradients(plain, x, w, (1, 1), pads))


@pytest.mark.parametrize(
  ("side", "kernel", "stride", "pad", "inputs", "outputs"),
  [
    (56, 7, 2, 3, 3, 96),
    (28, 3, 1, 1, 96, 144),
    (28, 3, 2, 1, 48, 64),
    (28, 1, 1, 0, 288, 96),
    (7, 3, 1, 1, 192, 320),
  ],
)
def test_equals_lax_at_the_layers_of_the_network(
  side, kernel, stride, pad, inputs, outputs
):
  x = normal(0, (4, side, side, inputs))
  w = normal(1, (kernel, kernel, inputs, outputs))
  arguments = x, w, (stride, stride), ((pad, pad), (pad, pad))
  ours = value_and_gradients(fast, *arguments)
  assert_near(ours, value_and_gradients(plain, *arguments))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_padding_by_name(padding, kernel):
  x, w = normal(0, (2, 9, 8, 3)), normal(1, (kernel, kernel, 3, 5))
  ours = value_and_gradients(fast, x, w, (2, 2), padding)
  assert_near(ours, value_and_gradients(plain, x, w, (2, 2), padding))


@pytest.mark.parametrize(
  "options",
  [
    {"rhs_dilation": (2, 2)},
    {"lhs_dilation": (2, 1)},
    {"feature_group_count": 2},
    {"precision": "highest"},
    {"padding": ((3, 1), (0, 4))},
    {"padding": ((-1, 0), (0, 0))},
  ],
  ids=lambda options: next(iter(options)),
)
def test_what_the_network_does_not_have_goes_to_lax(options):
  x, w = normal(0, (2, 9, 9, 4)), normal(1, (3, 3, 4, 6))
  if "feature_group_count" in options:
    w = w[:, :, :2]
  options = {"padding": ((1, 1), (1, 1)), **options}

  def program(conv):
    return str(jax.make_jaxpr(lambda x, w: conv(x, w, (1, 1), **options))(x, w))

  assert program(fast) == program(plain)


def test_another_layout_goes_to_lax():
  x, w = normal(0, (2, 4, 9, 9)), normal(1, (6, 4, 3, 3))
  ours = convolution.conv2d(x, w, (1, 1), "SAME")
  assert_near([ours], [lax.conv_general_dilated(x, w, (1, 1), "SAME")], rtol=0)


def test_one_dimension_goes_to_lax():
  x, w = normal(0, (2, 9, 4)), normal(1, (3, 4, 6))
  arguments = x, w, (1,), "SAME"
  options = {"dimension_numbers": ("NHC", "HIO", "NHC")}
  ours = convolution.conv2d(*arguments, **options)
  assert_near([ours], [lax.conv_general_dilated(*arguments, **options)], rtol=0)


@pytest.mark.parametrize("kernel", [1, 3])
def test_bfloat16_goes_to_lax(kernel):
  x = normal(0, (2, 9, 9, 4), "bfloat16")
  w = normal(1, (kernel, kernel, 4, 6), "bfloat16")

  def program(conv):
    return str(jax.make_jaxpr(lambda x, w: conv(x, w, (1, 1), "SAME"))(x, w))

  assert program(fast) == program(plain)


def loss(conv, kernel):
  pads = ((kernel // 2, kernel // 2),) * 2

  def loss_of(w, x):
    return (conv(x, w, (1, 1), pads) ** 2).sum()

  return loss_of


TRANSFORMS = {
  "eager": jax.grad,
  "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
  "jit": lambda f: jax.jit(jax.grad(jax.jit(f))),
  "vmap": lambda f: lambda w, x: jax.vmap(jax.grad(f), (None, 0))(w, x[:, None]),
  "twice": lambda f: jax.grad(lambda w, x: jax.grad(f)(w, x).sum()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_gradient_under_transformations(transform, kernel):
  x, w = normal(0, (4, 6, 6, 3)), normal(1, (kernel, kernel, 3, 5))
  ours = transform(loss(fast, kernel))(w, x)
  assert_near([ours], [transform(loss(plain, kernel))(w, x)])


@pytest.mark.parametrize("kernel", [1, 3])
def test_pmap(kernel):
  x, w = normal(0, (1, 4, 6, 6, 3)), normal(1, (kernel, kernel, 3, 5))

  def mapped(conv):
    step = jax.pmap(
      lambda w, x: lax.pmean(jax.grad(loss(conv, kernel))(w, x), "device"),
      "device",
      in_axes=(None, 0),
      out_axes=None,
      devices=jax.devices()[:1],
    )
    return step(w, x)

  assert_near([mapped(fast)], [mapped(plain)])


def test_shapes_are_known_without_computing():
  shape = jax.eval_shape(
    lambda x, w: fast(x, w, (2, 2), "SAME"),
    jax.ShapeDtypeStruct((2, 9, 9, 3), "float32"),
    jax.ShapeDtypeStruct((3, 3, 3, 5), "float32"),
  )
  assert shape.shape == (2, 5, 5, 5)


def test_forward_mode_is_refused():
  x, w = normal(0, (2, 6, 6, 3)), normal(1, (3, 3, 3, 5))
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jvp(lambda x: fast(x, w, (1, 1), "SAME"), (x,), (x,))


def operations(conv, kernel, stride, platform):
  """Names of the operations in the program for `platform`."""
  conv = nn.Conv(
    5, (kernel, kernel), stride, padding=kernel // 2, conv_general_dilated=conv
  )
  x = jax.ShapeDtypeStruct((4, 8, 8, 3), "float32")
  variables = jax.eval_shape(conv.init, jax.random.key(0), x)

  def both(variables, x):
    y, pull = jax.vjp(conv.apply, variables, x)
    return y, pull(y)

  text = jax.jit(both).trace(variables, x).lower(lowering_platforms=(platform,))
  return re.findall(r"stablehlo\.\w+", text.as_text())


# What a choice by platform leaves: a `case` with the one branch that is left, which
# every compiler removes, on a constant.
CHOICE = {"stablehlo.case", "stablehlo.constant", "stablehlo.return"}


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2)])
def test_the_program_for_a_gpu_is_that_of_lax(kernel, stride):
  ours, theirs = (
    sorted(o for o in operations(conv, kernel, stride, "cuda") if o not in CHOICE)
    for conv in (convolution.conv2d, None)
  )
  assert ours == theirs
  assert ours.count("stablehlo.convolution") == 3


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2)])
def test_the_program_for_a_cpu_is_not(kernel, stride):
  on_cpu = operations(convolution.conv2d, kernel, stride, "cpu")
  assert on_cpu.count("stablehlo.convolution") == (0 if kernel == 1 else 2)
  assert on_cpu.count("stablehlo.dot_general") == (3 if kernel == 1 else 1)


@functools.cache
def network_program(platform):
  model = models.create("inception_bn_21k", num_classes=10, width=0.25)
  x = jax.ShapeDtypeStruct((2, 64, 64, 3), "float32")
  variables = jax.eval_shape(
    functools.partial(model.init, train=False), jax.random.key(0), x
  )

  def gradients(params, batch_stats, x):
    def total(params):
      (logits, _), _ = model.apply(
        {"params": params, "batch_stats": batch_stats},
        x,
        train=True,
        mutable=["batch_stats"],
      )
      return logits.sum()

    return jax.grad(total)(params)

  traced = jax.jit(gradients).trace(variables["params"], variables["batch_stats"], x)
  return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.slow
def test_the_network_for_a_gpu_has_no_cpu_form():
  text = network_program("cuda")
  assert "stablehlo.while" not in text
  assert "stablehlo.optimization_barrier" not in text
  assert "stablehlo.select_and_scatter" not in text
  # 69 layers, of which the 35 pointwise ones of 10 blocks are a convolution each: 44
  # forward, 44 kernel gradients, 43 image gradients, the images needing none.
  assert text.count("stablehlo.convolution(") == 131
  # The head's two gradients alone.
  assert text.count("stablehlo.dot_general") == 2


@pytest.mark.slow
def test_the_network_on_a_cpu_has_neither_slow_gradient():
  text = network_program("cpu")
  assert "stablehlo.select_and_scatter" not in text
  assert text.count("stablehlo.convolution(") < 69

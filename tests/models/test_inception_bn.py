"""The two networks: counts, shapes, pools, rematerialisation."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k import models
from im21k.models import layers


def shapes(name, side=224, **fields):
  model = models.create(name, **fields)
  images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
  return jax.eval_shape(
    lambda x: model.init_with_output(jax.random.key(0), x, train=False), images
  )


def size(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@functools.cache
def narrow(**fields):
  """A model that runs in a second, its variables and images."""
  model = models.create(
    "inception_bn_21k", num_classes=11, width=0.125, init_scale=0.3, **fields
  )
  images = jax.random.normal(jax.random.key(1), (4, 32, 32, 3))
  init = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))
  return model, init(images), images


@pytest.mark.parametrize(
  ("name", "params", "stats"),
  [("inception_bn_21k", 33_619_969, 21_600), ("inception_bn_1k", 11_295_240, 20_032)],
)
def test_parameter_counts_are_the_published_ones(name, params, stats):
  _, variables = shapes(name)
  assert size(variables["params"]) == params
  assert size(variables["batch_stats"]) == stats


def test_there_are_as_many_arrays_as_in_the_released_model():
  _, variables = shapes("inception_bn_21k")
  leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
  found = collections.Counter(path[-1].key for path, _ in leaves)
  assert found == {"kernel": 70, "bias": 139, "scale": 69}
  assert len(leaves) + len(jax.tree.leaves(variables["batch_stats"])) == 416


def test_stages_have_the_sides_and_channels_of_the_original():
  (logits, out), _ = shapes("inception_bn_21k")
  assert logits.shape == (2, 21841)
  expected = {
    "conv1": (112, 96), "pool1": (56, 96), "conv2red": (56, 128), "conv2": (56, 288),
    "pool2": (28, 288), "3a": (28, 384), "3b": (28, 480), "3c": (14, 864),
    "4a": (14, 576), "4b": (14, 576), "4c": (14, 608), "4d": (14, 512), "4e": (7, 960),
    "5a": (7, 1024), "5b": (7, 1024),
  }  # fmt: skip
  assert {
    k: (v.shape[1], v.shape[3]) for k, v in out.items() if v.ndim == 4
  } == expected
  assert out["features"].shape == (2, 1024)


def test_floor_geometry_gives_the_sides_of_later_files():
  (_, out), _ = shapes("inception_bn_21k", pooling="floor", average_pool="counted")
  assert [out[s].shape[1] for s in ("pool1", "pool2", "3c", "4e")] == [56, 28, 14, 7]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", layers.POOLINGS)
@pytest.mark.parametrize("side", [32, 33, 47, 64, 65, 97, 100, 127, 225, 299])
def test_other_sides_work(side, pooling):
  (logits, _), _ = shapes("inception_bn_1k", side, pooling=pooling)
  assert logits.shape == (2, 1000)


def test_without_classes_the_features_come_back():
  (features, out), variables = shapes("inception_bn_21k", num_classes=None)
  assert features.shape == (2, 1024)
  assert "logits" not in out and "head" not in variables["params"]


@pytest.mark.slow
@given(width=st.floats(0.05, 2.0))
@settings(max_examples=10, deadline=None)
def test_width_scales_every_channel_count(width):
  (_, out), _ = shapes("inception_bn_21k", 32, width=width, num_classes=None)
  for name, channels in (("conv1", 96), ("conv2", 288)):
    assert out[name].shape[3] == max(8, round(channels * width / 8) * 8)
    assert out[name].shape[3] % 8 == 0


@pytest.mark.slow
def test_a_bias_before_batch_norm_has_no_gradient_in_training():
  """Beside rounding it would be 0; with fixed statistics it is not."""
  model, variables, images = narrow()

  def gradients(train):
    def loss(params):
      run = functools.partial(model.apply, mutable=["batch_stats"], train=train)
      (logits, _), _ = run({**variables, "params": params}, images)
      return (logits * jnp.arange(44.0).reshape(4, 11)).sum()

    found = jax.jit(jax.grad(loss))(variables["params"])
    flat = jax.tree_util.tree_leaves_with_path(found)
    ends = [
      (jax.tree_util.keystr(p[-2:], simple=True, separator="/"), g) for p, g in flat
    ]
    return [bool(g.any()) for name, g in ends if name == "conv/bias"], [
      bool(g.any()) for _, g in ends
    ]

  biases, every = gradients(train=True)
  assert len(biases) == 69 and not any(biases) and sum(every) == len(every) - 69
  assert all(gradients(train=False)[0])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("remat", ["none", "block"])
def test_no_type_is_promoted_silently(dtype, remat):
  """Every mixture of types in a forward and backward pass is an explicit cast."""
  model = models.create(
    "inception_bn_21k", num_classes=11, width=0.125, dtype=dtype, remat=remat
  )
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

  def gradient(images):
    variables = model.init(jax.random.key(0), images, train=False)

    def loss(params):
      run = functools.partial(model.apply, mutable=["batch_stats"], train=True)
      return run({**variables, "params": params}, images)[0][0].sum()

    return jax.grad(loss)(variables["params"])

  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(gradient, images)


@pytest.mark.slow
def test_images_of_another_form_are_refused():
  model, variables, images = narrow()
  with pytest.raises(ValueError, match=r"must be \[b, h, w, 3\]"):
    model.apply(variables, images[..., :1], train=False)


def brute_pool(x, ceil):
  """Max over 3x3 windows of stride 2, one by one; `ceil` clips, else pads by one."""
  side = x.shape[0]
  if ceil:
    outputs = max(1, int(np.ceil((side - 3) / 2)) + 1)
    starts = [2 * i for i in range(outputs)]
  else:
    starts = [2 * i - 1 for i in range((side + 2 - 3) // 2 + 1)]
  return np.array(
    [[x[max(0, r) : r + 3, max(0, c) : c + 3].max() for c in starts] for r in starts]
  )


@pytest.mark.parametrize("pooling", layers.POOLINGS)
@given(side=st.integers(1, 14), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_max_pool_equals_brute_force(pooling, side, seed):
  x = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
  found = layers.max_pool(jnp.asarray(x)[None, :, :, None], pooling)[0, :, :, 0]
  np.testing.assert_array_equal(found, brute_pool(x, pooling == "ceil"))


@pytest.mark.parametrize("average_pool", layers.AVERAGE_POOLS)
def test_average_pool_counts_padding_or_not(average_pool):
  x = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
  found = layers.local_pool(jnp.asarray(x)[None, :, :, None], "avg", average_pool)
  for r in range(5):
    for c in range(5):
      window = x[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
      divisor = 9 if average_pool == "counted" else window.size
      np.testing.assert_allclose(found[0, r, c, 0], window.sum() / divisor, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_parameter_gets_a_gradient(name):
  model = models.create(name, num_classes=5, width=0.125, init_scale=0.3)
  images = jax.random.normal(jax.random.key(1), (4, 32, 32, 3))
  init = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))
  variables = init(images)

  def loss(params):
    (logits, _), _ = model.apply(
      {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
    )
    return jax.nn.log_softmax(logits)[:, 0].mean()

  gradients = jax.jit(jax.grad(loss))(variables["params"])
  for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
    if path[-2:] == (jax.tree_util.DictKey("conv"), jax.tree_util.DictKey("bias")):
      continue  # BatchNorm takes the mean away, so this gradient is zero.
    assert np.abs(gradient).max() > 0, jax.tree_util.keystr(path)


def test_every_class_starts_with_the_bias_that_was_asked_for():
  """And the rest of the net as without it."""
  images = jnp.zeros((1, 32, 32, 3))
  plain, biased = (
    models.create("inception_bn_21k", num_classes=5, width=0.125, head_bias=bias).init(
      jax.random.key(0), images, train=False
    )["params"]
    for bias in (0.0, -10.0)
  )
  np.testing.assert_array_equal(biased["head"].pop("bias"), np.full(5, -10.0))
  np.testing.assert_array_equal(plain["head"].pop("bias"), np.zeros(5))
  jax.tree.map(np.testing.assert_array_equal, plain, biased)


def apply_training(model, variables, images):
  run = functools.partial(model.apply, train=True, mutable=["batch_stats"])
  return jax.jit(run)(variables, images)


@pytest.mark.slow
def test_moving_statistics_follow_the_originals_rule():
  model, variables, images = narrow(bn_momentum=0.1)
  _, updates = apply_training(model, variables, images)
  conv = variables["params"]["conv1"]["conv"]
  y = jax.lax.conv_general_dilated(
    images, conv["kernel"], (2, 2), [(3, 3)] * 2,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )  # fmt: skip
  before = variables["batch_stats"]["conv1"]["bn"]
  found = updates["batch_stats"]["conv1"]["bn"]
  mean, var = y.mean((0, 1, 2)) + conv["bias"], y.var((0, 1, 2))
  np.testing.assert_allclose(
    found["mean"], 0.1 * before["mean"] + 0.9 * mean, rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(found["var"], 0.1 * before["var"] + 0.9 * var, rtol=1e-4)


@pytest.mark.slow
def test_bfloat16_keeps_parameters_statistics_and_logits_in_float32():
  model, variables, images = narrow(dtype="bfloat16")
  (logits, out), updates = apply_training(model, variables, images)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
  assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("float32")}
  assert logits.dtype == jnp.float32 and out["5b"].dtype == jnp.bfloat16

"""Rematerialisation and early reduction change no number, only when it is computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.core import FrozenDict
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k import models
from im21k.models import blocks, remat


@pytest.fixture(autouse=True)
def short(monkeypatch):
  """A table of one block of each kind: it compiles in a fraction of the time."""
  stem, rows = blocks.STAGES["wide"]
  rows = {name: rows[name] for name in ("3a", "3c", "5b")}
  monkeypatch.setitem(blocks.STAGES, "short", (stem, rows))


def create(**fields):
  return models.create(
    "inception_bn_21k", table="short", num_classes=11, width=0.125, init_scale=0.3,
    bn_epsilon=1e-5, **fields,
  )  # fmt: skip


@functools.cache
def variables_and_images():
  images = jax.random.normal(jax.random.key(1), (8, 64, 64, 3))
  init = jax.jit(lambda x: create().init(jax.random.key(0), x, train=False))
  return init(images), images


@functools.cache
def gradients_of(policy, reduce=None):
  """Loss, updated statistics and gradients of one batch."""
  variables, images = variables_and_images()
  model = create(remat=policy, reduce=reduce)

  def loss(params):
    (logits, _), updates = model.apply(
      {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
    )
    labels = jnp.arange(8)
    losses = -jax.nn.log_softmax(logits)[labels, labels]
    return losses.mean(), updates["batch_stats"]

  (value, stats), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
    variables["params"]
  )
  return value, stats, gradients


def is_noise(path):
  """The gradient of a bias before BatchNorm is zero but for rounding."""
  return jax.tree_util.keystr(path[-2:], simple=True, separator="/") == "conv/bias"


def assert_same(ours, theirs, rtol=1e-6):
  """Loss and statistics elementwise, every gradient by its length."""
  np.testing.assert_allclose(ours[0], theirs[0], rtol=rtol)
  for a, b in zip(jax.tree.leaves(ours[1]), jax.tree.leaves(theirs[1]), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  flat, others = map(jax.tree_util.tree_flatten_with_path, (ours[2], theirs[2]))
  assert flat[1] == others[1]
  for (path, a), (_, b) in zip(flat[0], others[0], strict=True):
    if not is_noise(path):
      difference = np.linalg.norm(np.float64(a) - np.float64(b))
      assert difference <= rtol * np.linalg.norm(b), jax.tree_util.keystr(path)


def same(gradients):
  return gradients


@pytest.mark.slow
@pytest.mark.parametrize("reduce", [None, same], ids=["alone", "reduced"])
@pytest.mark.parametrize("policy", remat.POLICIES)
def test_no_number_changes(policy, reduce):
  assert_same(gradients_of(policy, reduce), gradients_of("none"))


SEGMENTS = ("conv1", "conv2", "3a", "3c", "5b")
mappings = st.dictionaries(
  st.sampled_from(SEGMENTS), st.sampled_from([*remat.POLICIES])
)


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(mappings)
def test_no_number_changes_with_a_policy_for_each_segment(mapping):
  assert_same(gradients_of(FrozenDict(mapping), same), gradients_of("none"))


@given(mappings)
def test_a_mapping_has_one_form(mapping):
  form = create(remat=mapping).remat
  assert remat.policies(form, SEGMENTS) == remat.policies(mapping, SEGMENTS)
  assert form == create(remat=form).remat and hash(create(remat=form))
  assert isinstance(form, str) == (len({mapping.get(s, "none") for s in SEGMENTS}) == 1)


@pytest.mark.parametrize("policy", [*remat.POLICIES, {"conv1": "norm", "3a": "block"}])
def test_the_parameters_are_the_same_tree(policy):
  variables, images = variables_and_images()
  shapes = jax.eval_shape(
    lambda x: create(remat=policy, reduce=same).init(jax.random.key(0), x, train=False),
    images,
  )
  assert jax.tree.structure(shapes) == jax.tree.structure(variables)


@pytest.mark.slow
def test_gradients_are_reduced_part_by_part_the_head_first():
  seen = []

  def reduce(gradients):
    seen.append({leaf.size for leaf in jax.tree.leaves(gradients)})
    return jax.tree.map(lambda g: 2 * g, gradients)

  value, stats, gradients = gradients_of("block", reduce)
  doubled = jax.tree.map(lambda g: 2 * g, gradients_of("none")[2])
  assert_same((value, stats, gradients), (*gradients_of("none")[:2], doubled))
  head = {leaf.size for leaf in jax.tree.leaves(gradients["head"])}
  assert len(seen) == 6 and seen[0] == head


@pytest.mark.slow
def test_a_nan_in_one_gradient_stays_there():
  def reduce(gradients):
    at_head = "head" in gradients
    return jax.tree.map(lambda g: g * jnp.nan if at_head else g, gradients)

  broken, sound = gradients_of("block", reduce)[2], gradients_of("block", same)[2]
  assert np.isnan(broken.pop("head")["kernel"]).all()
  sound = {name: leaf for name, leaf in sound.items() if name != "head"}
  jax.tree.map(np.testing.assert_array_equal, broken, sound)


def kept(images, **fields):
  """The arrays that are kept between forward and backward pass."""
  variables, _ = variables_and_images()

  def logits(params):
    run = functools.partial(create(**fields).apply, mutable=["batch_stats"])
    return run({**variables, "params": params}, images, train=True)[0][0]

  pull = jax.eval_shape(lambda p: jax.vjp(logits, p)[1], variables["params"])
  return jax.tree.leaves(pull)


@pytest.mark.slow
def test_backprop_keeps_what_the_policy_says():
  """Bytes between the passes: inputs of the segments, or convolutions too, or all."""
  _, images = variables_and_images()

  def size(policy):
    leaves = kept(images, remat=policy)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

  assert size("block") < 0.5 * size("norm") < 0.5 * size("none")
  assert size("block") < size({"conv1": "block", "conv2": "block"}) < size("none")


def prepare(images):
  return images.astype(jnp.float32) - 117  # exact: the numbers are the same


@pytest.mark.slow
def test_photos_are_kept_as_they_came_and_normalised_in_the_first_segment():
  photos = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
  leaves = kept(photos, remat="block", prepare=prepare)
  alike = {leaf.dtype.name for leaf in leaves if leaf.shape == photos.shape}
  assert alike == {"uint8"}

  def gradients(images, **fields):
    variables, _ = variables_and_images()

    def loss(params):
      run = functools.partial(create(**fields).apply, mutable=["batch_stats"])
      (logits, _), stats = run({**variables, "params": params}, images, train=True)
      return (logits * jnp.arange(88.0).reshape(8, 11)).mean(), stats

    (value, stats), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(
      variables["params"]
    )
    return value, stats, found

  apart = gradients(prepare(photos), remat="none")
  assert_same(gradients(photos, remat="block", reduce=same, prepare=prepare), apart)
  assert_same(gradients(photos, remat="none", prepare=prepare), apart)


class Two(nn.Module):
  """One segment of two layers."""

  policy: str

  @nn.compact
  def __call__(self, x):
    layers = [(nn.Dense(4, name=name), _tanh) for name in "ab"]
    if self.is_initializing():
      return [x := _tanh(module, x) for module, _ in layers][-1]
    return remat.Segments(None).run(layers, x, self.policy)


def _tanh(module, x):
  return jnp.tanh(module(x))


@pytest.mark.parametrize(("policy", "more"), [("none", 0), ("norm", 2), ("block", 3)])
def test_the_first_layers_of_a_segment_are_recomputed_once_more(policy, more):
  """So that their inner tensors are not there while the last layer needs most."""
  x = jnp.ones((2, 4))
  variables = Two("none").init(jax.random.key(0), x)

  def gradient(variables):
    return jax.grad(lambda v: Two(policy).apply(v, x).sum())(variables)

  text = str(jax.make_jaxpr(gradient)(variables))
  products = str(
    jax.make_jaxpr(jax.grad(lambda v: Two("none").apply(v, x).sum()))(variables)
  ).count("dot_general")
  assert text.count("dot_general") == products + more


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ("blok", "remat is 'blok'; did you mean 'block'"),
    ({"conv1": "blok"}, "remat of segment conv1 is 'blok'; did you mean 'block'"),
    ({"con1": "block"}, "remat names the segment 'con1'; did you mean 'conv1'"),
    ({"4a": "block"}, "remat names the segment '4a'; did you mean '3a'"),
    ({"conv1": 1}, "remat of segment conv1 is 1"),
    ({1: "block"}, "remat names the segment 1"),
    (1, "remat is 1"),
  ],
)
def test_a_misspelt_policy_is_an_error(wrong, message):
  with pytest.raises(ValueError, match=message):
    create(remat=wrong)

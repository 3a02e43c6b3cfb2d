"""A head split over the devices learns what a whole one learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k import models, parallel
from im21k.models import blocks
from im21k.training import flat_losses, optim, split_head
from im21k.training import step as steps


def batch_of(count, classes, side=16, seed=0):
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (4, count // 4, side, side, 3), dtype=np.uint8)
  return {"image": image, "label": rng.integers(0, classes, (4, count // 4), np.int32)}


def trained(model, classes, split, count=4, side=16, **options):
  """Losses, shares and the final state, whole, after some steps on four devices."""
  on = parallel.devices(4)
  optimizer = optim.sgd(optax.constant_schedule(0.05))
  state = steps.init(model, optimizer, side, seed=1)
  axes = split_head.axes(state) if split else None
  state = split_head.split(state, 4) if split else state
  step = parallel.train_step(
    steps.TrainStep(
      model=model, optimizer=optimizer, std=64.0, split_head=split, **options
    ).take,
    on,
    axes,
  )
  state, measured = parallel.place(state, on, axes), []
  for index in range(count):
    state, metrics = step(state, batch_of(16, classes, side, seed=index))
    measured.append([float(metrics["loss"]), float(metrics["top_1"])])
  state = split_head.join(state, classes) if split else state
  return np.array(measured), jax.device_get(state)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [5, 8, 30])
def test_loss_and_gradients_are_those_of_a_whole_head(tiny_model, classes):
  """With momentum and weight decay, where classes are divisible by four and not."""
  measured, whole = trained(tiny_model(classes), classes, split=False)
  ours, joined = trained(tiny_model(classes), classes, split=True)
  np.testing.assert_allclose(ours, measured, rtol=1e-5)
  assert jax.tree.structure(joined) == jax.tree.structure(whole)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), joined, whole
  )


@pytest.mark.slow
@pytest.mark.parametrize("classes", [5, 8])
@pytest.mark.parametrize(
  ("loss", "options"),
  [
    (flat_losses.evenly_smoothed(0.2), {"smoothing": 0.2}),
    (flat_losses.sigmoid, {"sigmoid": True}),
  ],
)
def test_the_same_with_other_losses(tiny_model, classes, loss, options):
  """Against a whole head, whose loss a test of losses holds to its definition."""
  measured, whole = trained(tiny_model(classes), classes, split=False, loss=loss)
  ours, joined = trained(tiny_model(classes), classes, split=True, **options)
  np.testing.assert_allclose(ours, measured, rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), joined, whole
  )


@pytest.mark.slow
def test_the_same_with_early_reduction_and_rematerialisation(monkeypatch):
  """On a trunk of one block: reduced late and early, with a whole head and a split."""
  stem, rows = blocks.STAGES["wide"]
  monkeypatch.setitem(blocks.STAGES, "short", (stem, {"3a": rows["3a"]}))
  model = models.create(
    "inception_bn_21k", table="short", num_classes=10, width=0.125, init_scale=0.3,
    bn_epsilon=1e-5, remat="block",
  )  # fmt: skip
  expected, late = trained(model, 10, split=False, count=1, side=32, overlap=False)
  for split in (False, True):
    measured, state = trained(model, 10, split=split, count=1, side=32)
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state, late
    )


@settings(max_examples=10)
@given(st.integers(1, 30), st.integers(1, 5))
def test_splitting_and_joining_change_nothing(classes, devices):
  rng = np.random.default_rng(0)
  state = {
    "head": {"kernel": rng.normal(size=(3, classes)), "bias": rng.normal(size=classes)},
    "conv": {"kernel": rng.normal(size=(2, 2))},
  }
  state = jax.tree.map(jnp.float32, state)
  parts = split_head.split(state, devices)
  assert parts["head"]["kernel"].shape == (devices, 3, -(-classes // devices))
  jax.tree.map(np.testing.assert_array_equal, split_head.join(parts, classes), state)


def test_a_device_holds_a_quarter_of_the_head_and_its_momentum(tiny_model):
  on = parallel.devices(4)
  state = steps.init(tiny_model(8), optim.sgd(lambda _: 0.1), 16, seed=1)
  axes = split_head.axes(state)
  placed = parallel.place(split_head.split(state, 4), on, axes)
  heads = [
    leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(placed)
    if "head" in jax.tree_util.keystr(path)
  ]
  assert len(heads) == 4  # kernel and bias, and the momentum of each
  for leaf in heads:
    assert {shard.data.shape[0] for shard in leaf.addressable_shards} == {1}
    assert len(leaf.addressable_shards) == 4

"""The mapped steps: equality over devices, exact sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import parallel
from im21k.training import optim
from im21k.training import step as steps
from im21k.training.augment import Mix
from im21k.weights import normalize


def batch_of(count, devices, classes=7, seed=0):
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
  label = rng.integers(0, classes, count).astype(np.int32)
  return {
    "image": image.reshape(devices, -1, 16, 16, 3),
    "label": label.reshape(devices, -1),
  }


def run(tiny, devices, sync_bn, count=6):
  """Losses and the final state of some steps on `devices`."""
  on = parallel.devices(devices)
  model = tiny(7, bn_axis_name=parallel.AXIS if sync_bn else None)
  optimizer = optim.sgd(optax.constant_schedule(0.05))
  state = steps.init(tiny(7), optimizer, 16, seed=1)
  state = jax.device_put(state, parallel.replicated(on))
  step = parallel.train_step(steps.TrainStep(model=model, optimizer=optimizer).take, on)
  losses = []
  for index in range(count):
    state, metrics = step(state, batch_of(16, devices, seed=index))
    losses.append(float(metrics["loss"]))
    for leaf in jax.tree.leaves((state, metrics)):
      copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
      assert len(copies) == devices
      for copy in copies[1:]:
        np.testing.assert_array_equal(copy, copies[0])
  return losses, state


def test_four_devices_and_one_learn_the_same_with_shared_statistics(tiny_model):
  """And every replica is equal after every step: `run` looks."""
  one, state_one = run(tiny_model, 1, sync_bn=True)
  four, state_four = run(tiny_model, 4, sync_bn=True)
  np.testing.assert_allclose(one, four, rtol=1e-5)
  assert one[-1] < one[0]
  for a, b in zip(jax.tree.leaves(state_one), jax.tree.leaves(state_four), strict=True):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_local_statistics_differ_from_shared_ones(tiny_model):
  local, _ = run(tiny_model, 4, sync_bn=False)
  shared, _ = run(tiny_model, 4, sync_bn=True)
  assert abs(local[-1] - shared[-1]) > 1e-5


@pytest.mark.slow
def test_local_statistics_are_averaged(tiny_model):
  """The moving mean after a step is the mean of what each device would have alone."""
  optimizer = optim.sgd(optax.constant_schedule(0.0))
  batch = batch_of(16, 4)
  _, together = one_step(tiny_model, optimizer, batch, 4)
  alone = [
    one_step(
      tiny_model, optimizer, jax.tree.map(lambda x, d=d: x[d : d + 1], batch), 1
    )[1]
    for d in range(4)
  ]
  jax.tree.map(
    lambda found, *parts: np.testing.assert_allclose(
      found, np.mean(parts, axis=0), rtol=1e-4, atol=1e-6
    ),
    together.batch_stats,
    *(state.batch_stats for state in alone),
  )


def one_step(tiny, optimizer, batch, devices):
  on = parallel.devices(devices)
  state = steps.init(tiny(7), optimizer, 16, seed=1)
  state = jax.device_put(state, parallel.replicated(on))
  made = steps.TrainStep(model=tiny(7), optimizer=optimizer)
  step = parallel.train_step(made.take, on)
  state, metrics = step(state, batch)
  return jax.device_get(metrics), jax.device_get(state)


def test_state_is_donated(tiny_model):
  on = parallel.devices(4)
  optimizer = optim.sgd(optax.constant_schedule(0.05))
  state = steps.init(tiny_model(7), optimizer, 16, seed=1)
  before = jax.device_put(state, parallel.replicated(on))
  made = steps.TrainStep(model=tiny_model(7), optimizer=optimizer)
  step = parallel.train_step(made.take, on)
  step(before, batch_of(16, 4))
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))


@pytest.mark.parametrize("devices", [1, 4])
def test_one_device_sends_nothing(tiny_model, devices):
  on = parallel.devices(devices)
  optimizer = optim.sgd(optax.constant_schedule(0.1))
  state = jax.eval_shape(lambda: steps.init(tiny_model(7), optimizer, 16, 0))
  batch = {
    "image": jax.ShapeDtypeStruct((devices, 2, 16, 16, 3), jnp.uint8),
    "label": jax.ShapeDtypeStruct((devices, 2), jnp.int32),
  }
  made = steps.TrainStep(model=tiny_model(7), optimizer=optimizer)
  step = parallel.train_step(made.take, on)
  text = step.lower(state, batch).as_text()
  words = ("all_reduce", "all_gather", "reduce_scatter", "collective")
  assert any(f"stablehlo.{word}" in text for word in words) == (devices > 1)


def test_normalisation_is_the_originals():
  image = jnp.array([[[[0, 117, 255]]]], jnp.uint8)
  found = normalize(image, 117.0, 1.0)
  np.testing.assert_array_equal(found, [[[[-117.0, 0.0, 138.0]]]])
  by_channel = normalize(image, (0.0, 100.0, 200.0), (1.0, 2.0, 5.0))
  np.testing.assert_allclose(by_channel, [[[[0.0, 8.5, 11.0]]]])


def test_more_devices_than_there_are_is_an_error():
  with pytest.raises(ValueError, match="devices is 5, but this machine has 4"):
    parallel.devices(5)


def test_photos_are_changed_the_same_on_any_number_of_hosts(tiny_model, monkeypatch):
  """Device h * 2 + d, the d-th of host h, has the examples that are h + 2 d of 4."""
  optimizer = optim.sgd(optax.constant_schedule(0.05))
  batch = batch_of(16, 4)
  on, model = parallel.devices(4), tiny_model(7)
  losses = []
  for hosts, order in ((1, [0, 1, 2, 3]), (2, [0, 2, 1, 3]), (2, [0, 1, 2, 3])):
    state = parallel.place(steps.init(model, optimizer, 16, seed=1), on)
    mix = Mix(color_jitter=0.8)
    made = steps.TrainStep(model=model, optimizer=optimizer, mix=mix)
    step = parallel.train_step(made.take, on)  # on these four, whatever follows
    dealt = {name: array[order] for name, array in batch.items()}
    with monkeypatch.context() as patch:
      patch.setattr(parallel, "hosts", lambda hosts=hosts: hosts)
      losses.append(float(step(state, dealt)[1]["loss"]))
  assert abs(losses[0] - losses[1]) < 1e-5 < abs(losses[0] - losses[2])

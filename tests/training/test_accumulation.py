"""A batch in parts learns what it learns whole, where BatchNorm allows it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import models, parallel
from im21k.models import blocks
from im21k.training import accumulation, optim, optimizers, split_head
from im21k.training import step as steps
from im21k.training.augment import Mix
from im21k.training.setup import prepare

CLASSES = 7


def batch_of(count, devices, side=16, seed=0, order=None):
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
  label = rng.integers(0, CLASSES, count).astype(np.int32)
  if order is not None:
    image, label = image[order], label[order]
  shape = (devices, count // devices)
  return {
    "image": image.reshape(*shape, side, side, 3),
    "label": label.reshape(shape),
  }


def trained(model, devices, count=3, side=16, rule=None, order=None, **options):
  """Losses, shares and the final state after some steps of 16 examples."""
  on = parallel.devices(devices)
  optimizer = rule or optim.sgd(optax.constant_schedule(0.05))
  if options.get("frozen"):
    optimizer = optim.of_head(optimizer)
  state = steps.init(model, optimizer, side, seed=1)
  split = options.get("split_head")
  axes = split_head.axes(state) if split else None
  state = split_head.split(state, devices) if split else state
  made = steps.TrainStep(model=model, optimizer=optimizer, std=64.0, **options)
  step = parallel.train_step(made.take, on, axes)
  state, measured = parallel.place(state, on, axes), []
  for index in range(count):
    state, metrics = step(state, batch_of(16, devices, side, index, order))
    measured.append([float(metrics["loss"]), float(metrics["top_1"])])
  state = split_head.join(state, CLASSES) if split else state
  return np.array(measured), jax.device_get(state)


def check_alike(found, wanted, rtol=1e-4, atol=1e-6):
  np.testing.assert_allclose(found[0], wanted[0], rtol=max(rtol, 1e-5))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
    found[1],
    wanted[1],
  )


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_mean_over_parts_is_that_of_the_batch(count):
  x = jnp.arange(12.0).reshape(6, 2)
  y = jnp.arange(6.0)

  def function(x, y):
    return {"a": (x * y[:, None]).mean(0), "b": len(x) * jnp.ones(())}

  like = {"a": jnp.ones(2), "b": jnp.ones(())}
  found = accumulation.mean(function, (x, y), count, like)
  np.testing.assert_allclose(found["a"], (x * y[:, None]).mean(0), rtol=1e-6)
  assert float(found["b"]) == 6 / count, "each call has a part"


@pytest.mark.parametrize(("size", "count", "use"), [(16, 3, 15), (4, 8, 8)])
def test_a_batch_that_cannot_be_divided_is_an_error(size, count, use):
  x = jnp.ones((size, 2))
  with pytest.raises(ValueError, match=rf"not divisible by accumulate .*: use {use} "):
    accumulation.mean(lambda x: x.mean(), (x,), count, jnp.ones(()))


@pytest.mark.parametrize(
  ("size", "devices", "count", "use"), [(64, 4, 3, 60), (8, 4, 4, 16), (100, 1, 7, 98)]
)
def test_the_remedy_can_be_divided(size, devices, count, use):
  with pytest.raises(ValueError, match=rf"{size} is not .* use {use} for") as caught:
    accumulation.check(size, devices, count)
  assert "\n" not in str(caught.value)
  accumulation.check(use, devices, count)
  accumulation.check(use, devices, 1)


def test_a_run_that_cannot_be_divided_is_refused_before_it_starts(config):
  with pytest.raises(ValueError, match=r"batch_size 8 .* 4 devices times accumulate 4"):
    prepare(config.changed({"accumulate": 4}))


MIXED = {"mix": Mix(mixup=0.5, color_jitter=0.3), "seed": 3}


@pytest.mark.parametrize("options", [{}, MIXED], ids=["plain", "mixed"])
def test_with_frozen_statistics_parts_learn_what_the_batch_learns(tiny_model, options):
  """Also where photos of different parts are mixed with each other."""
  model = tiny_model(CLASSES)
  whole = trained(model, 2, frozen=True, **options)
  check_alike(trained(model, 2, frozen=True, accumulate=4, **options), whole)


@pytest.mark.parametrize("rule", [None, "adamw", "lamb", "muon"])
def test_four_parts_on_a_device_are_four_devices(tiny_model, rule):
  """Statistics are those of each part, averaged, as they are of each device."""
  made = None
  if rule:  # Without this epsilon Adam would take the sign of rounding errors.
    made = optimizers.OPTIMIZERS[rule](epsilon=1e-2).make(lambda _: 1e-3)
  model = tiny_model(CLASSES)
  four = trained(model, 4, rule=made)
  check_alike(trained(model, 1, accumulate=4, rule=made), four, atol=1e-5)
  if rule is None:
    whole = trained(model, 1)
    assert abs(whole[0] - four[0]).max() > 1e-5, "of all 16 together they differ"


def test_moving_statistics_are_the_mean_of_those_of_the_parts(tiny_model):
  """By hand: mean and variance of each part's convolution, four parts of four."""
  model = tiny_model(CLASSES)
  optimizer = optim.sgd(optax.constant_schedule(0.0))
  params = steps.init(model, optimizer, 16, seed=1).params
  _, state = trained(model, 1, count=1, rule=optimizer, accumulate=4)
  image = batch_of(16, 1)["image"][0]
  photos = (image.astype(np.float32) - 117) / 64 / 64
  y = jax.lax.conv_general_dilated(
    photos, params["conv"]["kernel"], (4, 4), "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )  # fmt: skip
  parts = np.asarray(y).reshape(4, -1, 8)
  (found,) = state.batch_stats.values()
  mean, var = parts.mean(1).mean(0), parts.var(1).mean(0)
  np.testing.assert_allclose(found["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(found["var"], 0.9 + 0.1 * var, rtol=1e-4)


@pytest.mark.parametrize(("rule", "count"), [("sgd", 2), ("muon", 1), ("muon", 2)])
def test_shared_statistics_are_those_of_a_part_over_all_devices(
  tiny_model, rule, count
):
  """Four devices in two parts are one device in two parts, of the same examples."""
  keys = {} if rule == "sgd" else {"epsilon": 1e-2}
  made = optimizers.OPTIMIZERS[rule](**keys).make(lambda _: 1e-2)
  shared = tiny_model(CLASSES, bn_axis_name=parallel.AXIS)
  four = trained(shared, 4, accumulate=count, rule=made)
  # The first part: the first examples of each device's four.
  order = np.arange(16).reshape(4, count, -1).swapaxes(0, 1).ravel()
  one = trained(shared, 1, accumulate=count, order=order, rule=made)
  check_alike(one, four, rtol=1e-3, atol=1e-5)


def test_a_split_head_accumulates_too(tiny_model):
  model = tiny_model(CLASSES)
  whole = trained(model, 4, accumulate=2)
  check_alike(trained(model, 4, accumulate=2, split_head=True), whole)


def test_gradients_are_sent_once_a_step(tiny_model):
  """No collective is in the loop over the parts."""
  model = tiny_model(CLASSES)
  optimizer = optim.sgd(optax.constant_schedule(0.05))
  state = jax.eval_shape(lambda: steps.init(model, optimizer, 16, 0))
  sent = {}
  for count in (1, 4):
    made = steps.TrainStep(model=model, optimizer=optimizer, accumulate=count)
    step = parallel.train_step(made.take, parallel.devices(2))
    jaxpr = jax.make_jaxpr(step)(state, batch_of(16, 2)).jaxpr
    loops = [one for one in equations(jaxpr) if one.primitive.name == "scan"]
    assert len(loops) == (count > 1)
    for loop in loops:
      inside = equations(loop.params["jaxpr"].jaxpr)
      assert not [one for one in inside if "psum" in one.primitive.name]
    sent[count] = sum("psum" in one.primitive.name for one in equations(jaxpr))
  assert sent[1] == sent[4] > 0


def equations(jaxpr):
  """All of them, those of inner programs too."""
  for one in jaxpr.eqns:
    yield one
    for value in one.params.values():
      for inner in value if isinstance(value, tuple) else (value,):
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
          yield from equations(inner)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_shipped_net_accumulates_with_recomputation(monkeypatch, dtype):
  """On a trunk of one block, which reduces early where it has no parts."""
  stem, rows = blocks.STAGES["wide"]
  monkeypatch.setitem(blocks.STAGES, "short", (stem, {"3a": rows["3a"]}))
  model = models.create(
    "inception_bn_21k", table="short", num_classes=CLASSES, width=0.125,
    init_scale=0.3, bn_epsilon=1e-5, remat="block", dtype=dtype,
  )  # fmt: skip
  four = trained(model, 4, count=1, side=32)
  tolerance = {"rtol": 1e-3, "atol": 1e-4}
  if dtype == "bfloat16":
    tolerance = {"rtol": 0.05, "atol": 0.01}
  check_alike(trained(model, 1, count=1, side=32, accumulate=4), four, **tolerance)
  two = trained(model, 2, count=1, side=32, accumulate=2)
  check_alike(two, four, **tolerance)

"""Reduction over devices: how many collectives, in which type; and what JAX is told."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import parallel
from im21k.training import optim
from im21k.training import step as steps


def mapped(function, devices):
  return jax.pmap(
    function, parallel.AXIS, out_axes=None, devices=parallel.devices(devices)
  )


def tree(devices=4):
  rng = np.random.default_rng(0)
  shapes = {"large": (1 << 19,), "a": (3, 5), "b": (7,), "c": ()}
  return {k: rng.normal(size=(devices, *s)).astype("f4") for k, s in shapes.items()}


def test_small_arrays_travel_together_and_large_ones_alone(monkeypatch):
  monkeypatch.setattr(parallel, "ALONE", 1 << 21)
  given = tree()
  run = mapped(parallel.mean, 4)
  assert len(re.findall("stablehlo.all_reduce", run.lower(given).as_text())) == 2
  for name, found in jax.device_get(run(given)).items():
    np.testing.assert_allclose(found, given[name].mean(0), rtol=1e-5, atol=1e-6)


def test_in_bfloat16_half_the_bytes_are_sent():
  given = tree()
  run = mapped(lambda x: parallel.mean(x, "bfloat16"), 4)
  text = run.lower(given).as_text()
  assert re.search(r"all_reduce.*?tensor<\d+xbf16>", text, re.S)
  assert not re.search(r"\^bb0\(%\w+: tensor<f32>, %\w+: tensor<f32>\)", text)
  for name, found in jax.device_get(run(given)).items():
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, given[name].mean(0), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("devices", [1, 4])
def test_one_device_speaks_to_nobody(tiny_model, devices):
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


def test_jax_is_told_what_is_needed_and_the_user_has_the_last_word():
  ours = parallel.environment({})
  for name in parallel.XLA_FLAGS:
    assert f"{name}=" in ours["XLA_FLAGS"]
  assert ours["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.875"
  (name, *_) = parallel.XLA_FLAGS
  given = {
    "XLA_FLAGS": f"--other=1 {name}=false",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": ".5",
  }
  theirs = parallel.environment(given)
  assert theirs["XLA_FLAGS"].count(name) == 1
  assert theirs["XLA_FLAGS"].endswith(given["XLA_FLAGS"])
  assert theirs["XLA_PYTHON_CLIENT_MEM_FRACTION"] == ".5"
  assert name not in parallel.flags(given)


def test_setting_up_twice_changes_nothing_more():
  once = {}
  parallel.set_up(4, once)
  twice = dict(once)
  parallel.set_up(4, twice)
  assert once == twice

"""Reduction over devices: how many collectives, in which type."""

import re

import jax
import numpy as np
import pytest

from im21k import parallel


def mapped(function, devices):
  return jax.pmap(
    function, parallel.AXIS, out_axes=None, devices=parallel.devices(devices)
  )


def tree(devices=4):
  rng = np.random.default_rng(0)
  shapes = {"large": (1 << 19,), "a": (3, 5), "b": (7,), "c": ()}
  return {k: rng.normal(size=(devices, *s)).astype("f4") for k, s in shapes.items()}


def test_small_arrays_are_reduced_together_and_large_ones_alone(monkeypatch):
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


@pytest.mark.parametrize(
  ("hosts", "groups"), [(1, [0, 1, 2, 3]), (2, [0, 2, 1, 3]), (4, [0, 1, 2, 3])]
)
def test_a_group_of_examples_is_the_same_for_any_split_into_hosts(
  monkeypatch, hosts, groups
):
  """Devices are ordered by host; host h has examples h, h + hosts and so on."""
  monkeypatch.setattr(jax, "process_count", lambda: hosts)
  on = jax.local_devices()[:4]
  run = jax.pmap(lambda _: parallel.group(), parallel.AXIS, devices=on)
  assert run(np.zeros(4)).tolist() == groups

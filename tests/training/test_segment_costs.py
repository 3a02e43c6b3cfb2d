"""What segments keep and compute, against figures of the architecture."""

import jax
import jax.numpy as jnp
import pytest

from im21k import models
from im21k.training import optim, segment_costs
from im21k.training import step as steps

SEGMENTS = ("conv1", "conv2", "3a", "3b", "3c", *(f"4{c}" for c in "abcde"), "5a", "5b")


@pytest.fixture(scope="module")
def costs():
  model = models.create("inception_bn_21k")
  assert model.segments == SEGMENTS
  optimizer = optim.sgd(lambda _: 0.1, momentum=0.9, weight_decay=0.0, decay="all")
  state = jax.eval_shape(lambda: steps.init(model, optimizer, 224, 0))
  photos = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.uint8)
  prepared = model.clone(prepare=lambda x: x.astype(jnp.float32))
  found = segment_costs.measure(prepared, state, photos)
  assert len(found) == len(SEGMENTS) + 1
  return dict(zip((*SEGMENTS, "head"), found, strict=True))


@pytest.mark.slow
def test_flops_are_those_of_the_network(costs):
  """3.42 GMAC an image; conv1 has 7x7x3 of them for each of its outputs."""
  assert costs["conv1"].flops == 2 * 2 * 112**2 * 96 * 7 * 7 * 3
  assert costs["head"].flops == 2 * 2 * 1024 * 21841
  assert sum(c.flops for c in costs.values()) == pytest.approx(2 * 2 * 3.42e9, rel=3e-3)


@pytest.mark.slow
def test_bytes_are_those_of_the_tensors(costs):
  """Of conv1: photos of a byte, normalised, its output, its pool and its places.

  Vectors of a value for each channel, and copies of kernels, come on top.
  """
  pixels, outputs = 2 * 224**2 * 3, 2 * 112**2 * 96
  kept = costs["conv1"].kept
  assert kept["block"] == pixels and kept["norm"] == pixels + 4 * outputs
  full = 4 * pixels + 4 * outputs + outputs + outputs // 4
  assert full <= kept["none"] <= full + (1 << 17)
  assert costs["conv2"].kept["block"] == 4 * 2 * 56**2 * 96
  # Of 3a its input and one convolution for four layers, then three more.
  channels = 288 + (96 + 96 + 96 + 48) + 96 + 2 * 144
  assert costs["3a"].kept["norm"] == 4 * 2 * 28**2 * channels
  assert sum(c.gradients for c in costs.values()) == 4 * 33_619_969
  for name, cost in costs.items():
    assert (
      cost.kept["block"] <= cost.kept["norm"] <= cost.kept["none"] or name == "head"
    )
    assert cost.kept["none"] < cost.workspace

"""Weights as one object, and made into another."""

import os
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from PIL import Image

import im21k
from im21k import synsets
from im21k.inference.classifier import Classifier
from im21k.weights import normalize


@pytest.fixture(scope="module")
def model(tiny_weights, tmp_path_factory):
  folder = tmp_path_factory.mktemp("weights")
  tiny_weights.save(folder)
  return im21k.load(folder)


@pytest.fixture(scope="module")
def photos():
  rng = np.random.default_rng(0)
  return [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((50, 70), (40, 40))]


@pytest.mark.slow
def test_logits_and_features_are_the_models(model, photos):
  batch = model.prepare(photos)
  assert batch.shape == (2, 32, 32, 3) and batch.dtype == np.uint8
  images = normalize(batch, 117.0, 70.0)
  logits, out = jax.jit(lambda x: model.model.apply(model.variables, x, train=False))(
    images
  )
  np.testing.assert_allclose(model.logits(batch), logits, rtol=1e-4, atol=1e-5)
  features = model.features(batch)
  assert features.keys() == out.keys() and features["features"].shape == (2, 136)
  alone = model.features(photos, stage="features")
  assert alone.dtype == np.float32
  np.testing.assert_allclose(alone, out["features"], rtol=1e-4, atol=1e-4)


def test_one_stage_takes_what_prepare_takes_and_computes_nothing_else(
  model, photos, tmp_path, monkeypatch
):
  monkeypatch.setattr(im21k.inference.classifier.Classifier, "_run", None)
  Image.fromarray(photos[0]).save(tmp_path / "a.png")
  pictures = [tmp_path / "a.png", Image.fromarray(photos[1])]
  found = model.features(pictures, stage="conv1")
  assert found.shape == (2, 16, 16, 16)
  same = model.features(model.prepare(photos), stage="conv1")
  np.testing.assert_array_equal(found, same)
  with pytest.raises(ValueError, match=r"stage is 'conv', which .* has not"):
    model.features(["missing.jpg"], stage="conv")


def test_a_stream_goes_on_behind_bad_photos(model, photos, tmp_path):
  Image.fromarray(photos[0]).save(tmp_path / "a.png")
  (tmp_path / "b.png").write_bytes(b"no photo")
  paths = (tmp_path / name for name in ("a.png", "b.png", "a.png"))
  found = list(model.stream(paths, "conv1", batch_size=2))
  assert [bool(vector.error) for vector in found] == [False, True, False]
  one = model.features(tmp_path / "a.png", stage="conv1")[0]
  np.testing.assert_allclose(found[2].values, one, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_loading_and_using_weights_imports_no_more_than_it_needs(
  tiny_weights, tmp_path
):
  """In a fresh process; people put this into projects of their own."""
  tiny_weights.save(tmp_path)
  heavy = (
    "array_record", "grain", "jinja2", "matplotlib", "ml_collections",
    "optax", "orbax", "scipy", "tensorflow", "tensorflow_datasets", "tqdm", "tyro",
  )  # fmt: skip
  code = f"""
import sys
import numpy as np
import im21k
assert "jax" not in sys.modules
model = im21k.load({str(tmp_path)!r})
logits = model.logits(model.prepare([np.zeros((50, 70, 3), np.uint8)]))
assert logits.shape == (1, 21841)
repr(model), model._repr_html_(), model.classes
print(*sorted({set(heavy)!r} & set(sys.modules)))
"""
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=False,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
  )  # fmt: skip
  assert (done.returncode, done.stdout) == (0, "\n"), done.stderr[-2000:]


@pytest.mark.slow
def test_another_head_on_the_same_trunk_and_back_to_a_folder(model, photos, tmp_path):
  classes = synsets.ClassList("pets", ("n02121620", "n02084071"))
  other = model.with_head(classes)
  assert other.logits(model.prepare(photos)).shape == (2, 2)
  other.save(tmp_path)
  again = im21k.load(tmp_path)
  assert again.classes.synsets == classes.synsets
  np.testing.assert_array_equal(
    again.variables["params"]["conv1"]["conv"]["kernel"],
    model.variables["params"]["conv1"]["conv"]["kernel"],
  )


def test_a_frozen_trunk_stays(model):
  params = model.variables["params"]
  optimizer = optax.chain(
    optax.sgd(0.1), optax.masked(optax.set_to_zero(), model.trunk())
  )
  gradients = jax.tree.map(np.ones_like, params)
  updates, _ = optimizer.update(gradients, optimizer.init(params), params)
  for name, part in updates.items():
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(part))
    assert (largest > 0) == (name == "head")
  new = model.with_variables({**model.variables, "params": params})
  assert new.weights.scores == {}


@pytest.mark.parametrize(
  "images",
  [np.zeros((2, 32, 32, 3), np.float32), np.zeros((32, 32, 3), np.uint8)],
)
def test_anything_but_a_batch_of_photos_is_refused(model, images):
  with pytest.raises(ValueError, match=r"must be uint8 \[b, h, w, 3\] in RGB"):
    model.logits(images)


@pytest.mark.slow
def test_as_a_module_of_nnx_it_has_the_same_logits(model, photos):
  module = model.to_nnx()
  images = normalize(model.prepare(photos), 117.0, 70.0)
  logits, stages = nnx.jit(lambda module, x: module(x, train=False))(module, images)
  expected = model.logits(model.prepare(photos))
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
  assert stages["features"].shape == (2, 136)
  counts = [
    sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, kind)))
    for kind in (nnx.Param, nnx.BatchStat)
  ]
  variables = model.variables
  assert counts == [
    sum(leaf.size for leaf in jax.tree.leaves(variables[name]))
    for name in ("params", "batch_stats")
  ]


def test_a_module_of_nnx_trains(linear_weights, rng):
  classes = synsets.ClassList("three", ("a", "b", "c"))
  kernel = rng.normal(size=(48, 3)).astype(np.float32)
  model = Classifier(linear_weights(kernel, np.zeros(3, np.float32), classes))
  module = model.to_nnx()
  optimizer = nnx.Optimizer(module, optax.sgd(3.0), wrt=nnx.Param)
  images, labels = rng.normal(size=(6, 32, 32, 3)), np.arange(6) % 3

  @nnx.jit
  def step(module, optimizer, images, labels):
    def loss(module):
      logits, _ = module(images, train=True)
      return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    value, gradients = nnx.value_and_grad(loss)(module)
    optimizer.update(module, gradients)
    return value

  images = images.astype(np.float32)
  losses = [float(step(module, optimizer, images, labels)) for _ in range(20)]
  assert losses[-1] < losses[0] / 2
  assert (
    model.variables["params"]["head"]["kernel"] == kernel
  ).all()  # Its own arrays.

"""A small model with a trunk to train, weights of it, and photos that it can learn."""

import io

import jax
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from im21k import synsets, weights
from im21k.models import registry


class Small(nn.Module):
  """Mean colours of tiles, BatchNorm, a layer, a head."""

  num_classes: int = 21841
  bn_axis_name: str | None = None

  @nn.compact
  def __call__(self, x, *, train):
    b, h, w, c = x.shape
    x = x.reshape(b, 4, h // 4, 4, w // 4, c).mean(axis=(2, 4)).reshape(b, 16 * c)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      axis_name=self.bn_axis_name,
      name="bn",
    )(x)
    features = nn.relu(nn.Dense(24, name="layer")(x))
    logits = nn.Dense(self.num_classes, name="head")(features)
    return logits, {"features": features, "logits": logits}


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """`models.create("small")` works."""
  monkeypatch.setitem(registry._BUILDERS, "small", Small)


@pytest.fixture
def released():
  """Weights of the small model over four synsets."""
  classes = synsets.ClassList(
    "four", ("n01443537", "n02084071", "n02121620", "n04587559")
  )
  model = Small(4)
  images = np.zeros((1, 32, 32, 3), np.float32)
  variables = model.init(jax.random.key(0), images, train=False)
  return weights.Weights(
    "small", {"num_classes": 4}, jax.device_get(variables),
    weights.Input(32, 37, std=70.0), classes,
  )  # fmt: skip


@pytest.fixture
def folder(released, tmp_path):
  released.save(tmp_path / "old")
  return tmp_path / "old"


COLOURS = {"my dog": (200, 40, 40), "Café": (40, 200, 40), "red car": (40, 40, 200)}


@pytest.fixture
def photos(tmp_path):
  """Ten photos of each of three own classes, each of a colour."""
  root = tmp_path / "mine"
  rng = np.random.default_rng(0)
  for name, colour in COLOURS.items():
    (root / name).mkdir(parents=True)
    for index in range(10):
      noise = rng.integers(-30, 30, (40, 40, 3))
      pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
      file = io.BytesIO()
      Image.fromarray(pixels).save(file, "JPEG")
      (root / name / f"{index}.jpg").write_bytes(file.getvalue())
  return root

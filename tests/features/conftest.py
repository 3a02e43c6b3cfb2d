"""A linear model, whose features are known without a network."""

import numpy as np
import pytest

from im21k import synsets
from im21k.photos import crops


@pytest.fixture
def released(linear_weights):
  """Weights whose answers differ from photo to photo."""
  full = synsets.imagenet21k()
  rng = np.random.default_rng(0)
  kernel = rng.normal(scale=1 / 300, size=(48, len(full))).astype(np.float32)
  return linear_weights(kernel, rng.normal(size=len(full)).astype(np.float32), full)


@pytest.fixture
def saved(released, tmp_path):
  """The folder of `released`."""
  released.save(tmp_path / "weights")
  return tmp_path / "weights"


@pytest.fixture(scope="module")
def some(sample_photos):
  """Paths of twenty photos, more than go into one batch."""
  return sorted(sample_photos.rglob("*.jpg"))[:20]


@pytest.fixture(scope="session")
def tiles_of():
  """(photo, mean, std) -> features `[48]` of the linear model, in numpy."""

  def tiles_of(photo, mean=117.0, std=1.0):
    square = (crops.center_crop(photo, 32, 37).astype(np.float64) - mean) / std
    return square.reshape(4, 8, 4, 8, 3).mean((1, 3)).reshape(48)

  return tiles_of

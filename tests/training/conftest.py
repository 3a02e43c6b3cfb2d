"""A model that compiles in a second, and a config and data for it."""

import types

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from im21k.models import registry
from im21k.training import workdir
from im21k.training.config import Config


class Tiny(nn.Module):
  """Convolution, BatchNorm, mean, head."""

  num_classes: int | None = 21841
  dtype: str = "float32"
  bn_axis_name: str | None = None
  bn_momentum: float = 0.9

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool):
    x = nn.Conv(8, (3, 3), strides=4, name="conv")(x / 64)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=self.bn_momentum,
      axis_name=self.bn_axis_name,
    )(x)
    features = nn.relu(x).mean((1, 2))
    if self.num_classes is None:
      return features, {"features": features}
    logits = nn.Dense(self.num_classes, name="head", dtype=self.dtype)(features)
    return logits.astype(jnp.float32), {"features": features, "logits": logits}


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch):
  """`models.create("tiny")` works."""
  monkeypatch.setitem(registry._BUILDERS, "tiny", Tiny)
  return Tiny


DOCUMENT = {
  "model": {"name": "tiny"},
  "total": {"steps": 12},
  "schedule": {"name": "stepwise", "rates": [0.1, 0.01], "until": {"steps": [8]}},
  "batch_size": 8,
  "image_size": 32,
  "log_every": {"steps": 5},
  "eval_every": {"steps": 6},
  "save_every": {"steps": 4},
  "devices": 4,
}


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
  """Curves are not drawn, which takes longer than the training of a tiny model."""
  if "pictures" not in request.fixturenames:
    nothing = types.SimpleNamespace(draw=lambda *_: None)
    monkeypatch.setattr(workdir, "learning_curve", nothing)


@pytest.fixture
def pictures():
  """Curves are drawn."""


@pytest.fixture
def document(packed):
  """The nested keys of a short run on the sample photos."""
  return {**DOCUMENT, "data": str(packed)}


@pytest.fixture
def config(document):
  """The same, checked."""
  return Config.from_dict(document)

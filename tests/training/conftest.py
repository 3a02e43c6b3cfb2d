"""A model that compiles in a second, for tests of what is around the model."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from im21k.models import registry


class Tiny(nn.Module):
  """Convolution, BatchNorm, mean, head."""

  num_classes: int | None = 21841
  dtype: str = "float32"
  bn_axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool):
    x = nn.Conv(8, (3, 3), strides=4, name="conv")(x / 64)
    x = nn.BatchNorm(
      use_running_average=not train, momentum=0.9, axis_name=self.bn_axis_name
    )(x)
    features = nn.relu(x).mean((1, 2))
    if self.num_classes is None:
      return features, {"features": features}
    logits = nn.Dense(self.num_classes, name="head")(features)
    return logits.astype(jnp.float32), {"features": features, "logits": logits}


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch):
  """`models.create("tiny")` works."""
  monkeypatch.setitem(registry._BUILDERS, "tiny", Tiny)
  return Tiny

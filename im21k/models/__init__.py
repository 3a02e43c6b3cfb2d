"""Flax modules, created by name or directly; imports jax and flax, nothing else.

  model = models.create("inception_bn_21k", num_classes=21841, dtype="bfloat16")
  variables = model.init(jax.random.key(0), images, train=False)
  logits, out = model.apply(variables, images, train=False)

Every model takes float images `[batch, height, width, 3]`, already normalised, and
a keyword-only `train`; it returns `(logits, out)` with each stage named in `out`.
"""

from im21k.models.inception_bn import InceptionBN, inception_bn_1k, inception_bn_21k
from im21k.models.registry import create, names

__all__ = ["InceptionBN", "create", "inception_bn_1k", "inception_bn_21k", "names"]

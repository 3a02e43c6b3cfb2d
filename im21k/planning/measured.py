"""What real machines reach -> the range of an estimate, and the cores that feed it.

In: how fast a program would be at its card's peak arithmetic and bandwidth. Out: the
range that real cards reach of it. No kernel runs at both peaks all the time, so a card
reaches a part of them, which is nearly the same for all cards: the table says what.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Measured:
  """A public measurement of one card.

  Attributes:
    card: name in the card list.
    dtype: arithmetic of the measured program; mixed precision counts as bfloat16.
    images_per_s: images/s of the plain Inception-BN, 1,000 classes, 224².
    at_peak: the same at the card's peak arithmetic and bandwidth, as `plan` computes it
      of this project's program (`inception_bn_1k`, one GPU, nothing recomputed).
    source: who measured what.
  """

  card: str
  dtype: str
  images_per_s: float
  at_peak: float
  source: str


# Where Inception-BN itself was not measured: ResNet-50's images/s times 1.88, which is
# the ratio of the nets' arithmetic. `at_peak`: jax 0.10.2, 64 images (A100: 128),
# 2026-11-28. What was measured makes more passes over memory than this program, so the
# shares are low rather than high.
MEASURED = (
  Measured("titanx-maxwell", "float32", 204, 453, "Inception-BN in MXNet"),
  Measured("p100", "float32", 412, 682, "ResNet-50 in float32, 219 images/s"),
  Measured("v100", "float32", 645, 1101, "ResNet-50 in float32, 343 images/s"),
  Measured("a100", "bfloat16", 4700, 11497, "ResNet-50 in mixed precision, 2,500"),
)
# Four cards do not show the extremes of all, and three figures are derived: the range
# goes beyond the lowest and the highest share by this part of it.
MARGIN = 0.1


def share() -> tuple[float, float]:
  """The lowest and highest part of its peaks that a card reaches."""
  shares = [one.images_per_s / one.at_peak for one in MEASURED]
  return min(shares) * (1 - MARGIN), max(shares) * (1 + MARGIN)


# Processor time in which im21k's loader makes an example of 224² from a JPEG of
# 500 × 375: the row "im21k" of benchmarks/results/load.jsonl.
LOADER_MS = 0.56
LOADER_MACHINE = "2 cores of an AMD EPYC"


def cores_to_feed(images_per_s: float) -> float:
  """Processor cores that make so many examples a second, on `LOADER_MACHINE`."""
  return images_per_s * LOADER_MS / 1e3

"""Photos made for a test: tiny, smooth, each of its own."""

import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def picture():
  """`picture(seed, height, width)`: a smooth Pillow image."""

  def make(seed: int = 0, height: int = 24, width: int = 32) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)

  return make


@pytest.fixture(scope="session")
def jpeg(picture):
  """`jpeg(seed, height, width, mode, **options)`: the bytes of a JPEG."""

  def make(seed=0, height=24, width=32, mode="RGB", **options) -> bytes:
    file = io.BytesIO()
    picture(seed, height, width).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()

  return make


@pytest.fixture
def photos(jpeg, tmp_path):
  """`photos({synset: count})`: a folder of JPEGs in synset folders."""

  def make(counts: dict[str, int], name: str = "photos"):
    root = tmp_path / name
    for synset, count in counts.items():
      (root / synset).mkdir(parents=True)
      for i in range(count):
        seed = int(synset[1:]) * 1000 + i
        (root / synset / f"{synset}_{i}.jpg").write_bytes(jpeg(seed))
    return root

  return make


@pytest.fixture
def rng():
  """A generator that draws the same in every run."""
  return np.random.default_rng(0)

"""Photos of any kind become the same batch, or an error that names the photo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from im21k import weights
from im21k.photos import crops, images

INPUT = weights.Input(size=32, short_side=37)


@pytest.fixture
def pixels():
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (50, 70, 3), np.uint8)


@pytest.mark.parametrize(("size", "short_side"), [(0, 37), (-1, 37), (38, 37)])
def test_input_must_be_a_crop_of_the_photo(size, short_side):
  with pytest.raises(ValueError, match=f"crop of {size} needs a short side of as much"):
    weights.Input(size, short_side)


# prepare.


def test_paths_pictures_and_arrays_may_be_mixed(pixels, tmp_path):
  path = tmp_path / "a.png"
  Image.fromarray(pixels).save(path)
  with Image.open(path) as opened:
    photos = [path, str(path), opened, Image.fromarray(pixels), pixels]
    batch = INPUT.prepare(photo for photo in photos)
  assert batch.shape == (5, 32, 32, 3) and batch.dtype == np.uint8
  expected = crops.center_crop(pixels, 32, 37)
  for square in batch:
    np.testing.assert_array_equal(square, expected)


def test_sizes_may_be_mixed_and_device_arrays_are_arrays(pixels):
  photos = [pixels, pixels[:40, :33], jnp.asarray(pixels)]
  batch = INPUT.prepare(photos)
  np.testing.assert_array_equal(batch[0], batch[2])
  assert (batch[0] != batch[1]).any()


def test_pictures_are_turned_upright_like_files(pixels, tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned by 90° clockwise.
  path = tmp_path / "turned.png"
  Image.fromarray(pixels).save(path, exif=exif)
  with Image.open(path) as picture:
    turned, read = INPUT.prepare([picture, path])
  np.testing.assert_array_equal(turned, read)
  (upright,) = INPUT.prepare([np.rot90(pixels, -1)])
  np.testing.assert_array_equal(turned, upright)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_every_mode_become_rgb(pixels, mode):
  if mode == "I;16":
    picture = Image.fromarray(pixels[..., 0].astype(np.uint16) << 8)
    expected = np.repeat(pixels[..., :1], 3, axis=2)
  else:
    picture = Image.fromarray(pixels).convert(mode)
    expected = np.asarray(picture.convert("RGB"))
  assert picture.mode == mode
  found, square = INPUT.prepare([picture, expected])
  np.testing.assert_array_equal(found, square)


@pytest.mark.parametrize(
  ("wrong", "what"),
  [
    (np.zeros((50, 70), np.uint8), r"uint8 \[50, 70\]"),
    (np.zeros((50, 70, 4), np.uint8), r"uint8 \[50, 70, 4\]"),
    (np.zeros((3, 50, 70), np.uint8), r"uint8 \[3, 50, 70\]"),
    (np.zeros((50, 70, 3), np.float32), r"float32 \[50, 70, 3\]"),
  ],
)
def test_other_arrays_are_named_with_the_remedy(pixels, wrong, what):
  with pytest.raises(ValueError, match=rf"photo 1 is {what}, but .*PIL.Image"):
    INPUT.prepare([pixels, wrong])


def test_one_photo_is_a_batch_of_one_and_an_array_of_several_is_one_of_several(
  pixels, tmp_path
):
  path = tmp_path / "a.png"
  Image.fromarray(pixels).save(path)
  expected = crops.center_crop(pixels, 32, 37)[None]
  for photo in (path, str(path), Image.fromarray(pixels), pixels, pixels[None]):
    np.testing.assert_array_equal(INPUT.prepare(photo), expected)
  assert INPUT.prepare(np.stack([pixels] * 3)).shape == (3, 32, 32, 3)


@pytest.mark.parametrize(
  ("photos", "message"),
  [
    ([], "photos is empty"),
    (np.zeros((50, 70), np.uint8), r"photo 0 is uint8 \[50, 70\]"),
    ([np.zeros((0, 5, 3), np.uint8)], r"photo 0 has no pixels: its shape is \[0, 5, 3"),
  ],
)
def test_no_photo_at_all_is_an_error(photos, message):
  with pytest.raises(ValueError, match=message):
    INPUT.prepare(photos)


def test_a_missing_file_and_a_text_file_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
    INPUT.prepare([tmp_path / "nowhere.jpg"])
  (tmp_path / "text.jpg").write_text("no photo")
  with pytest.raises(images.ImageError, match=r"text\.jpg"):
    INPUT.prepare([str(tmp_path / "text.jpg")])


# normalize.


@pytest.mark.parametrize(
  ("mean", "std"), [(117.0, 70.0), ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))]
)
def test_normalize_is_the_formula_and_the_functions(pixels, mean, std):
  given = weights.Input(32, 37, mean=mean, std=std)
  expected = (pixels.astype(np.float64) - mean) / std
  for images_ in (pixels, pixels[None], jnp.asarray(pixels)):
    found = given.normalize(images_)
    assert found.dtype == jnp.float32 and found.shape == images_.shape
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)
  inside = jax.jit(given.normalize)(pixels)
  np.testing.assert_allclose(inside, weights.normalize(pixels, mean, std), atol=1e-6)

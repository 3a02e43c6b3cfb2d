"""Crops are where and as large as published, and pixels are those of the photo."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from im21k.loading.examples import RandomNumbers
from im21k.photos import crops
from im21k.photos.crops import RandomResizedCrop, StraightCrop


def photo(height: int, width: int) -> np.ndarray:
  """A photo whose pixels say where they are: row, column, and 99."""
  image = np.full((height, width, 3), 99, np.uint8)
  image[..., 0] = np.arange(height)[:, None]
  image[..., 1] = np.arange(width)
  return image


@pytest.mark.parametrize(("height", "width"), [(35, 38), (38, 35)])
def test_straight_crop_takes_every_position_equally_often(rng, height, width):
  crop = StraightCrop(32, 35)
  counts = np.zeros((height - 31, width - 31), int)
  for _ in range(280 * counts.size):
    top, left, _, _ = crop.draw(height, width, rng)
    counts[top, left] += 1
  assert stats.chisquare(counts.ravel()).pvalue > 1e-3, counts


@pytest.mark.parametrize(
  ("height", "width", "side"),
  [(256, 300, 224), (512, 512, 448), (400, 128, 112), (100, 101, 88), (1, 9, 1)],
)
def test_straight_crop_is_a_square_in_proportion_to_the_short_side(
  rng, height, width, side
):
  for _ in range(20):
    box = StraightCrop(224, 256).draw(height, width, rng)
    assert box[2:] == (side, side)


def published_box(height, width, rng, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
  """`RandomResizedCrop.get_params` of torchvision 0.15, transcribed."""
  area = height * width
  log_ratio = np.log(np.array(ratio))
  for _ in range(10):
    target_area = area * rng.uniform(scale[0], scale[1])
    aspect_ratio = np.exp(rng.uniform(log_ratio[0], log_ratio[1]))
    w = int(round(math.sqrt(target_area * aspect_ratio)))  # noqa: RUF046
    h = int(round(math.sqrt(target_area / aspect_ratio)))  # noqa: RUF046
    if 0 < w <= width and 0 < h <= height:
      i = rng.integers(0, height - h + 1)
      j = rng.integers(0, width - w + 1)
      return i, j, h, w
  in_ratio = float(width) / float(height)
  if in_ratio < min(ratio):
    w = width
    h = int(round(w / min(ratio)))  # noqa: RUF046
  elif in_ratio > max(ratio):
    h = height
    w = int(round(h * max(ratio)))  # noqa: RUF046
  else:
    w, h = width, height
  return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
  ("height", "width", "scale"),
  [
    (180, 240, (0.08, 1.0)),
    (240, 90, (0.08, 1.0)),
    (60, 250, (0.08, 1.0)),
    (180, 240, (0.35, 0.9)),
  ],
)
def test_random_resized_crop_is_distributed_as_published(rng, height, width, scale):
  crop = RandomResizedCrop(224, scale)
  draws = [RandomNumbers(rng.random(24).tolist()) for _ in range(4000)]
  ours = np.array([crop.draw(height, width, d) for d in draws])
  other = np.random.default_rng(99)
  theirs = np.array([published_box(height, width, other, scale) for _ in range(4000)])
  quantities = {
    "top": lambda box: box[:, 0],
    "left": lambda box: box[:, 1],
    "area": lambda box: box[:, 2] * box[:, 3],
    "ratio": lambda box: box[:, 3] / box[:, 2],
    "free height": lambda box: box[:, 0] / np.maximum(1, height - box[:, 2]),
    "free width": lambda box: box[:, 1] / np.maximum(1, width - box[:, 3]),
  }
  for name, quantity in quantities.items():
    found = stats.ks_2samp(quantity(ours), quantity(theirs))
    assert found.pvalue > 1e-3, (name, found)


def test_random_resized_crop_keeps_to_areas_and_ratios(rng):
  crop = RandomResizedCrop(224)
  for _ in range(1000):
    top, left, h, w = crop.draw(200, 250, rng)
    assert 0 <= top <= 200 - h and 0 <= left <= 250 - w
    # Sides are whole pixels.
    assert (h + 0.5) * (w + 0.5) >= 0.08 * 200 * 250
    assert (w + 0.5) / (h - 0.5) >= 3 / 4 and (w - 0.5) / (h + 0.5) <= 4 / 3


def test_random_resized_crop_takes_the_scale_that_is_given(rng):
  crop = RandomResizedCrop(224, scale=(0.25, 0.25), ratio=(1.0, 1.0))
  for _ in range(50):
    assert crop.draw(100, 100, rng)[2:] == (50, 50)


def test_a_ratio_is_that_of_width_to_height(rng):
  crop = RandomResizedCrop(224, scale=(0.5, 0.5), ratio=(2.0, 2.0))
  for _ in range(50):
    assert crop.draw(100, 100, rng)[2:] == (50, 100)


@pytest.mark.parametrize(
  ("height", "width", "box"),
  [
    (10, 250, (0, 118, 10, 13)),
    (250, 10, (118, 0, 13, 10)),
    (3, 200, (0, 98, 3, 4)),
    (200, 3, (98, 0, 4, 3)),
  ],
)
def test_a_photo_too_long_for_any_crop_gives_its_middle(rng, height, width, box):
  for _ in range(20):
    assert RandomResizedCrop(224).draw(height, width, rng) == box
  assert published_box(height, width, rng) == box


@pytest.mark.parametrize(
  ("height", "width", "top", "left"),
  [(40, 56, 4, 12), (56, 40, 12, 4), (40, 41, 4, 4), (40, 40, 4, 4)],
)
def test_center_crop_cuts_the_middle_out_untouched(height, width, top, left):
  image = photo(height, width)
  expected = image[top : top + 32, left : left + 32]
  np.testing.assert_array_equal(crops.center_crop(image, 32, 40), expected)


def test_center_crop_of_a_larger_photo_is_cut_first_and_resized_once(rng):
  image = rng.integers(0, 256, (80, 120, 3), np.uint8)
  means = image[8:72, 28:92].reshape(32, 2, 32, 2, 3).mean((1, 3))
  assert np.abs(crops.center_crop(image, 32, 40) - means).max() <= 0.51


@pytest.mark.parametrize("crop", [StraightCrop(16, 99), RandomResizedCrop(16)])
@given(height=st.integers(1, 500), width=st.integers(1, 500), seed=st.integers(0, 9))
def test_a_crop_lies_within_a_photo_of_any_size(crop, height, width, seed):
  top, left, h, w = crop.draw(height, width, np.random.default_rng(seed))
  assert 0 <= top <= height - h and 0 <= left <= width - w and h > 0 and w > 0


@given(height=st.integers(1, 500), width=st.integers(1, 500))
def test_a_photo_of_any_size_gives_a_square(height, width):
  image = np.full((height, width, 3), 7, np.uint8)
  cropped = crops.center_crop(image, 16, 99)
  assert (cropped.shape, cropped.dtype) == ((16, 16, 3), np.uint8)
  assert (cropped == 7).all()
  assert image.shape == (height, width, 3), "the photo is left as it was"


@pytest.mark.parametrize("crop", [StraightCrop, crops.check])
def test_a_crop_larger_than_the_short_side_is_refused_at_once(crop):
  crop(224, 224)
  with pytest.raises(ValueError, match=r"a crop of 224 needs a photo .*, not 223"):
    crop(224, 223)


@pytest.mark.parametrize(
  "make",
  [lambda: StraightCrop(0, 9), lambda: crops.check(0, 9), lambda: RandomResizedCrop(0)],
)
def test_a_crop_without_pixels_is_refused_at_once(make):
  with pytest.raises(ValueError, match="at least 1 pixel, not 0"):
    make()


def test_center_crop_of_an_array_refuses_as_well():
  with pytest.raises(ValueError, match="a crop of 32 needs"):
    crops.center_crop(photo(40, 40), 32, 31)


def test_the_usual_short_side_is_that_of_the_original_recipe():
  sizes = {224: 256, 112: 128, 299: 342, 32: 37}
  assert {size: crops.usual_short_side(size) for size in sizes} == sizes


SIDES = st.integers(1, 40)


@given(h=SIDES, w=SIDES, height=SIDES, width=SIDES, seed=st.integers(0, 99))
def test_resize_gives_the_size_and_no_new_extremes(h, w, height, width, seed):
  image = np.random.default_rng(seed).integers(50, 200, (h, w, 3), np.uint8)
  resized = crops.resize(image, height, width)
  assert (resized.shape, resized.dtype) == ((height, width, 3), np.uint8)
  assert image.min() <= resized.min() and resized.max() <= image.max()
  if (h, w) == (height, width):
    np.testing.assert_array_equal(resized, image)


@given(h=SIDES, w=SIDES, height=SIDES, width=SIDES, value=st.integers(0, 255))
def test_resize_keeps_a_plain_colour(h, w, height, width, value):
  image = np.full((h, w, 3), (value, 255 - value, 7), np.uint8)
  assert (crops.resize(image, height, width) == image[0, 0]).all()


@given(h=st.integers(1, 9), w=st.integers(1, 9), factor=st.integers(2, 5))
def test_shrinking_takes_the_mean_of_areas(h, w, factor):
  rng = np.random.default_rng(h * 100 + w * 10 + factor)
  image = rng.integers(0, 256, (h * factor, w * factor, 3), np.uint8)
  means = image.reshape(h, factor, w, factor, 3).mean((1, 3))
  resized = crops.resize(image, h, w)
  assert np.abs(resized - means).max() <= 0.51


def test_resize_takes_a_view_of_an_image():
  image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
  view = image[3:33, 5:25]
  np.testing.assert_array_equal(
    crops.resize(view, 10, 10), crops.resize(view.copy(), 10, 10)
  )

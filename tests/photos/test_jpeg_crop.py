"""Crops are those of the decoded photo, and bad bytes are an error."""

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.photos import images, jpeg_crop
from im21k.photos.jpeg_crop import Box, Decoder

KINDS = ("444", "422", "420", "440", "411", "Gray")


@pytest.fixture(scope="module")
def decoder():
  return Decoder()


def make(picture, kind, height, width, quality=90):
  pixels = np.asarray(picture(3, height, width))
  if kind == "Gray":
    return simplejpeg.encode_jpeg(pixels[..., :1].copy(), quality, "GRAY", "Gray")
  return simplejpeg.encode_jpeg(pixels, quality, colorsubsampling=kind)


@settings(max_examples=150)
@given(
  kind=st.sampled_from(KINDS),
  height=st.integers(1, 90),
  width=st.integers(1, 90),
  data=st.data(),
)
def test_a_crop_is_that_of_the_whole_photo(decoder, picture, kind, height, width, data):
  jpeg = make(picture, kind, height, width)
  h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
  top, left = (
    data.draw(st.integers(0, height - h)),
    data.draw(st.integers(0, width - w)),
  )
  assert decoder.open(jpeg) == (height, width)
  part = decoder.crop(Box(top, left, h, w), least=100)
  whole = images.decode(jpeg)
  np.testing.assert_array_equal(part, whole[top : top + h, left : left + w])


def narrow_boxes(height, width):
  """Boxes of a few pixels at every place, and the columns and rows at the edges."""
  for top in range(0, height, 3):
    for h in (1, 2, 3):
      yield from (
        Box(top, left, min(h, height - top), min(w, width - left))
        for left in range(width)
        for w in (1, 2, 3)
      )
  for w in range(1, width + 1):
    yield from (Box(0, 0, height, w), Box(5, width - w, 1, w))
  for h in range(1, height + 1):
    yield from (Box(0, 0, h, width), Box(height - h, 5, h, 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_upsampling_at_the_edges_of_a_crop_is_that_inside_the_photo(decoder, rng, kind):
  """Noise shows it: with a margin of 1 the first column alone differs in 4:2:0."""
  noise = rng.integers(0, 256, (27, 37, 3), np.uint8)
  jpeg = make(lambda *_: noise, kind, 27, 37)
  whole = images.decode(jpeg)
  for box in narrow_boxes(27, 37):
    decoder.open(jpeg)
    top, left, h, w = box
    part = decoder.crop(box, least=100)
    np.testing.assert_array_equal(part, whole[top : top + h, left : left + w])


@pytest.mark.parametrize("down", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_upsampling_at_a_fraction_of_the_scale_too(decoder, rng, kind, down):
  noise = rng.integers(0, 256, (160, 224, 3), np.uint8)
  jpeg = make(lambda *_: noise, kind, 160, 224)
  decoder.open(jpeg)
  whole = decoder.crop(Box(0, 0, 160, 224), least=160 // down).copy()
  assert whole.shape == (160 // down, 224 // down, 3)
  for _ in range(200):
    h, w = (int(rng.integers(1, n // down)) * down for n in (160, 224))
    top = int(rng.integers((160 - h) // down + 1)) * down
    left = int(rng.integers((224 - w) // down + 1)) * down
    part = decoder.crop(Box(top, left, h, w), least=min(h, w) // down)
    if min(h, w) // (min(h, w) // down) >= 2 * down:
      continue  # It could be decoded at a smaller scale yet.
    y, x = top // down, left // down
    expected = whole[y : y + h // down, x : x + w // down]
    np.testing.assert_array_equal(part, expected)


def test_a_crop_of_a_single_pixel_at_a_fraction_of_the_scale(decoder, jpeg):
  """Of rows 12 to 20 at 1/8: both ends round to 2."""
  decoder.open(jpeg(1, 60, 70))
  assert decoder.crop(Box(12, 12, 8, 8), least=1).shape == (1, 1, 3)
  assert decoder.crop(Box(52, 60, 8, 8), least=1).shape == (2, 1, 3), "at the edge"


def test_one_photo_gives_many_crops(decoder, jpeg):
  data = jpeg(1, 60, 70)
  whole = images.decode(data)
  decoder.open(data)
  for top in (0, 50, 10):
    part = decoder.crop(Box(top, 3, 10, 20), least=99)
    np.testing.assert_array_equal(part, whole[top : top + 10, 3:23])


def test_what_is_behind_the_end_is_not_copied_for_each_crop(jpeg):
  """Some telephones keep a film of many megabytes there."""
  decoder, data = Decoder(), jpeg(1, 60, 70)
  decoder.open(data + bytes(10**7))
  np.testing.assert_array_equal(
    decoder.crop(Box(1, 2, 30, 40), least=99), images.decode(data)[1:31, 2:42]
  )
  assert decoder._data.nbytes == len(data)


def test_another_kind_of_image_is_decoded_whole(decoder, picture):
  file = io.BytesIO()
  picture(1, 40, 50).save(file, "PNG")
  assert decoder.open(file.getvalue()) == (40, 50)
  part = decoder.crop(Box(5, 6, 20, 30), least=1)
  np.testing.assert_array_equal(part, np.asarray(picture(1, 40, 50))[5:25, 6:36])


def test_crops_of_a_photo(decoder, sample_photos, rng):
  for path in sorted(sample_photos.glob("*/*.jp*g"))[:40]:
    jpeg = path.read_bytes()
    height, width = decoder.open(jpeg)
    h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    part = decoder.crop(Box(int(top), int(left), int(h), int(w)), least=500)
    whole = images.decode(jpeg)
    np.testing.assert_array_equal(part, whole[top : top + h, left : left + w])


@pytest.mark.parametrize("down", [2, 4, 8])
def test_a_large_crop_is_decoded_at_a_fraction_of_the_scale(
  decoder, sample_photos, down
):
  """It is the mean over squares but for rounding, and for half a pixel at its edges."""
  for path in sorted(sample_photos.glob("*/*.jp*g"))[:20]:
    jpeg = path.read_bytes()
    height, width = decoder.open(jpeg)
    side = min(height, width) // 16 * 16 - 32
    part = decoder.crop(Box(16, 16, side, side), least=side // down)
    assert part.shape == (side // down, side // down, 3)
    whole = images.decode(jpeg)[16 : 16 + side, 16 : 16 + side].astype(float)
    means = whole.reshape(side // down, down, side // down, down, 3).mean((1, 3))
    assert np.abs(part - means).mean() < 2.5, path
    nearly = decoder.crop(Box(16, 16, side, side), least=side // down + 1)
    assert len(nearly) == 2 * side // down, "never smaller than what is wanted"


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}])
def test_other_ways_to_write_a_jpeg(decoder, jpeg, options):
  data = jpeg(5, 60, 70, **options)
  decoder.open(data)
  whole = images.decode(data)
  part = decoder.crop(Box(7, 9, 40, 41), least=99)
  np.testing.assert_array_equal(part, whole[7:47, 9:50])


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff"])
def test_what_is_no_jpeg_is_an_error(decoder, data):
  with pytest.raises(images.ImageError):
    decoder.open(data)


def test_a_photo_of_too_many_pixels_is_refused_before_memory_is_taken(decoder, jpeg):
  data = bytearray(jpeg(0, 24, 32))
  start = data.index(b"\xff\xc0") + 5
  data[start : start + 4] = b"\xff\x00\xff\x00"
  with pytest.raises(images.ImageError, match="65280×65280 pixels are more than"):
    decoder.open(bytes(data))


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_bytes_give_pixels_or_an_error(decoder, jpeg, data):
  damaged = bytearray(jpeg(1, 40, 48))
  for _ in range(data.draw(st.integers(1, 4))):
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
      st.integers(0, 255)
    )
  damaged = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
  try:
    height, width = decoder.open(damaged)
    if height * width < 10**6:
      part = decoder.crop(Box(0, 0, min(9, height), min(9, width)), least=100)
      assert part.dtype == np.uint8
  except images.ImageError as error:
    assert str(error)
  # And the decoder can be used again.
  decoder.open(jpeg(2, 9, 9))
  assert decoder.crop(Box(0, 0, 9, 9), least=9).shape == (9, 9, 3)


def test_a_machine_without_the_library_is_told_what_to_install(monkeypatch):
  monkeypatch.setattr(jpeg_crop.importlib.metadata, "files", lambda name: None)
  monkeypatch.setattr(jpeg_crop.ctypes.util, "find_library", lambda name: None)
  with pytest.raises(ImportError, match="install the package turbojpeg, or"):
    jpeg_crop._path()

"""EXIF and XMP say which way up a photo is, in every encoding, as Pillow reads them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from im21k.photos import jpeg_header, orientation

FORMATS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i"}


def tags(value, order="<", kind=3, first=8, tag=0x0112, count=1):
  """A TIFF header with one other tag before that of the orientation."""
  mark = b"II*\0" if order == "<" else b"MM\0*"
  data = struct.pack(order + FORMATS[kind], value).ljust(4, b"\0")
  other = struct.pack(order + "HHII", 0x010F, 3, 1, 0)
  entry = struct.pack(order + "HHI", tag, kind, count) + data
  return (
    (mark + struct.pack(order + "I", first)).ljust(first, b"\0")
    + struct.pack(order + "H", 2)
    + other
    + entry
    + bytes(4)
  )


def with_segment(jpeg, payload):
  return (
    jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]
  )


XMP = b"http://ns.adobe.com/xap/1.0/\0"
ATTRIBUTE = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
ELEMENT = b"<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>"


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("first", [8, 100])
def test_exif_in_every_encoding(jpeg, value, order, kind, first):
  exif = tags(value, order, kind, first)
  assert orientation.of_segments(exif, b"") == value
  data = with_segment(jpeg(), b"Exif\0\0" + exif)
  assert jpeg_header.read(data).orientation == value
  with Image.open(io.BytesIO(data)) as picture:
    assert orientation.of_picture(picture) == value
    if kind in (3, 4):  # Pillow reads the others as bytes or not at all.
      assert picture.getexif()[0x0112] == value


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("text", [ATTRIBUTE, ELEMENT])
def test_xmp_as_attribute_and_element(jpeg, value, text):
  data = with_segment(jpeg(), XMP + text % value)
  assert jpeg_header.read(data).orientation == value
  with Image.open(io.BytesIO(data)) as picture:
    assert orientation.of_picture(picture) == value == picture.getexif()[0x0112]


def test_xmp_in_single_quotes():
  text = b"<rdf:Description tiff:Orientation = '6'/>"
  assert orientation.of_segments(b"", text) == 6


def test_exif_goes_before_xmp_and_may_leave_it_to_xmp():
  assert orientation.of_segments(tags(3), ATTRIBUTE % 6) == 3
  assert orientation.of_segments(tags(1), ATTRIBUTE % 6) == 1
  assert orientation.of_segments(tags(3, tag=0x0113), ATTRIBUTE % 6) == 6


@pytest.mark.parametrize(
  "exif",
  [b"", b"II", b"XX*\0" + tags(6)[4:], tags(6)[:20], tags(0), tags(9), tags(6)[:30]],
)
def test_what_makes_no_sense_is_upright(exif):
  assert orientation.of_segments(exif, b"") == 1


@pytest.mark.parametrize("value", range(1, 9))
def test_pixels_are_turned_as_pillow_turns_them(picture, value):
  image = picture(1, 5, 7)
  image.getexif()[0x0112] = value
  turned = orientation.upright(np.asarray(image), value)
  np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
  assert turned.flags.c_contiguous


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_tags_of_other_formats(picture, kind):
  exif = Image.Exif()
  exif[0x0112] = 6
  file = io.BytesIO()
  picture().save(file, kind, exif=exif)
  with Image.open(file) as image:
    assert orientation.of_picture(image) == 6

"""Templates: what is missing is an error, and photos are JPEGs within the page."""

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from im21k.pages import render


def test_a_value_that_is_missing_is_an_error():
  with pytest.raises(jinja2.UndefinedError, match="photos"):
    render.page("photo_page")


def test_every_template_is_a_file_of_the_package():
  names = render._environment().list_templates()
  assert "photo_page.html.jinja" in names and "style.css" in names
  for name in names:
    assert render._environment().get_template(name)


def test_a_photo_is_a_jpeg_in_rgb():
  pixels = np.zeros((16, 24, 3), np.uint8)
  pixels[..., 0] = 200
  head, _, data = render.data_uri(pixels).partition(",")
  assert head == "data:image/jpeg;base64"
  with Image.open(io.BytesIO(base64.b64decode(data))) as image:
    assert image.size == (24, 16)
    red, green, blue = np.asarray(image)[8, 12].tolist()
  assert red > 180 and green < 20 and blue < 20


def test_a_photo_without_pixels_is_an_error():
  with pytest.raises(ValueError, match="cannot be encoded as JPEG"):
    render.data_uri(np.zeros((0, 4, 3), np.uint8))

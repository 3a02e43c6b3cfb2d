"""Values -> HTML pages: one environment, in which every value is escaped.

Pages use neither scripts nor the network: photos are data URIs. The templates are in
`templates/`; a value that a template expects and does not get is an error.
"""

import base64
import functools
from typing import Any

import cv2
import jinja2
import numpy as np
from jaxtyping import UInt8


def page(template: str, **values: Any) -> str:
  """The page of a template, `photo_page` say, with these values."""
  return _environment().get_template(f"{template}.html.jinja").render(values)


def data_uri(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
  """A photo in RGB as a JPEG within the page, for `src` of an image.

  Raises:
    ValueError: the photo cannot be encoded.
  """
  options = [cv2.IMWRITE_JPEG_QUALITY, 80]
  try:
    done, jpeg = cv2.imencode(".jpg", pixels[..., ::-1], options)
  except cv2.error as error:
    raise ValueError(f"a photo cannot be encoded as JPEG: {error}") from error
  if not done:
    raise ValueError(f"a photo of shape {pixels.shape} cannot be encoded as JPEG")
  return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode('ascii')}"


@functools.cache
def _environment() -> jinja2.Environment:
  return jinja2.Environment(
    loader=jinja2.PackageLoader("im21k.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )

"""Values -> HTML pages: one environment, in which every value is escaped.

Pages use neither scripts nor the network, and their policy allows neither: photos are
data URIs. In every text, what cannot be seen is written out, for names may hold control
characters, turn the direction of text, or be no Unicode. The templates are in
`templates/`; a value that a template expects and does not get is an error.
"""

import base64
import functools
import hashlib
from typing import Any

import cv2
import jinja2
import numpy as np
from jaxtyping import UInt8

from im21k import words


def page(template: str, **values: Any) -> str:
  """The page of a template, `photo_page` say, with these values."""
  environment = _environment()
  style = environment.get_template("style.css").render()
  digest = hashlib.sha256(style.encode()).digest()
  return environment.get_template(f"{template}.html.jinja").render(
    values,
    style=style,
    style_hash=base64.b64encode(digest).decode("ascii"),
  )


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
    finalize=_seen,
  )


def _seen(value: Any) -> Any:
  """A value as templates show it; markup is that of other templates."""
  if isinstance(value, str) and not hasattr(value, "__html__"):
    return words.visible(value)
  return value

"""Values -> HTML pages: one environment, in which every value is escaped.

Pages use no network, and their policy allows none: photos are data URIs. The one script
that it allows, `page.js`, adds what hovering and searching need; without it nothing
that a page says is lost. The look of all pages is `style.css`; what one page has of its
own is in `TEMPLATE.css`. In every text, what cannot be seen is written out, for names
may hold control characters, turn the direction of text, or be no Unicode. The templates
are in `templates/`; a value that a template expects and does not get is an error.
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

_SIDE = 144  # Of a small photo, in pixels, at most.


def page(template: str, **values: Any) -> str:
  """The page of a template, `photo_page` say, with these values."""
  environment = _environment()
  own = f"{template}.css"
  styles = ["style.css", *({own} & {*environment.list_templates()})]
  style = "".join(_source(name) for name in styles)
  script = _source("page.js")
  return environment.get_template(f"{template}.html.jinja").render(
    values,
    style=style,
    style_hash=_digest(style),
    script=script,
    script_hash=_digest(script),
  )


def thumbnail(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
  """A photo no larger than a page shows it."""
  scale = _SIDE / max(pixels.shape[:2])
  if scale >= 1:
    return pixels
  size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
  small: UInt8[np.ndarray, "_ _ 3"] = cv2.resize(
    pixels, size, interpolation=cv2.INTER_AREA
  )
  return small


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


def _source(name: str) -> str:
  """A file of `templates/` as it is."""
  loader = _environment().loader
  assert loader is not None
  return loader.get_source(_environment(), name)[0]


def _digest(text: str) -> str:
  """What the policy of a page names a style or script by."""
  return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


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

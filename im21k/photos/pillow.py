"""An image file that is no usual JPEG -> upright pixels, by Pillow.

In: the bytes of a file, or a Pillow image. Out: uint8 RGB `[h, w, 3]`, and what the
file was. Whatever Pillow raises becomes an `ImageError`.
"""

import functools
import io
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from im21k.photos import jpeg_header, limits, orientation
from im21k.photos.errors import ImageError, image_error

# Formats that Pillow recognizes by their first bytes and decodes by itself: EPS, say,
# would be handed to Ghostscript.
_FORMATS = (
  "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "PSD",
  "QOI",
)  # fmt: skip
# Pixels that are converted at a time: a large picture is in memory once, not thrice.
_BAND = 2**20
# TIFF's tags.
_BITS, _PHOTOMETRIC, _TILE_WIDTH, _TILE_HEIGHT = 258, 262, 322, 323
_WHITE_IS_ZERO = 0


class Picture(NamedTuple):
  """An image that Pillow decoded: its pixels, and what the file was.

  Attributes:
    pixels: `[h, w, 3]` uint8 RGB, upright.
    format: Pillow's name of the format.
    is_16_bit, is_transparent, is_animated: reduced to 8 bits, without alpha, to the
      first frame.
    was_turned: whether the pixels were turned upright.
  """

  pixels: UInt8[np.ndarray, "h w 3"]
  format: str
  is_16_bit: bool
  is_transparent: bool
  is_animated: bool
  was_turned: bool


def decode(data: bytes) -> Picture:
  """Decodes a file; of an animation the first frame.

  Raises:
    ImageError: see `images.decode`.
  """
  try:
    limits.check_unopened(data)
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
      return _picture(image, data)
  except Exception as error:
    raise image_error(error, data) from error


def of_picture(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  """The pixels of a Pillow picture, turned upright; see `images.decode`.

  Raises:
    ImageError: its file is damaged, or nothing says how bright its pixels are.
  """
  try:
    pixels = _rgb(picture)
    return orientation.upright(pixels, orientation.of_picture(picture))
  except Exception as error:
    raise image_error(error) from error


def _picture(image: Image.Image, data: bytes) -> Picture:
  is_jpeg = image.format in ("JPEG", "MPO")
  if not is_jpeg:
    limits.check_picture(image.format or "", image.height, image.width, data)
    _check_tiles(image)
  is_16_bit = image.mode.startswith("I")
  is_transparent = image.has_transparency_data
  if is_jpeg:
    tag = turn = jpeg_header.read(data).orientation
    pixels = _rgb(image)
  else:
    # Pillow turns TIFF by itself while it reads the pixels, and removes the tag.
    tag = orientation.of_picture(image)
    pixels = _rgb(image)
    turn = orientation.of_picture(image)
  return Picture(
    orientation.upright(pixels, turn),
    "JPEG" if is_jpeg else image.format or "",
    is_16_bit,
    is_transparent,
    not is_jpeg and _is_animated(image),
    tag != orientation.UPRIGHT,
  )


def _check_tiles(image: Image.Image) -> None:
  """TIFF's tiles may be larger than the picture."""
  tags: Any = getattr(image, "tag_v2", {})
  height, width = tags.get(_TILE_HEIGHT, 2), tags.get(_TILE_WIDTH, 2)
  if height * width > limits.OTHER_PIXELS:
    raise ImageError(f"tiles of {width}×{height} pixels", "too large")


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  is_16_bit = image.mode.startswith("I;16") or (
    image.mode == "I" and image.format == "PPM"
  )
  if image.mode in ("I", "F") and not is_16_bit:
    raise ImageError(f"nothing says how bright its pixels of mode {image.mode} are")
  image.load()
  tags: Any = getattr(image, "tag_v2", {})
  to_rgb = functools.partial(_of_16_bits, tags) if is_16_bit else _of_colours
  rows = max(1, _BAND // image.width)
  if rows >= image.height:
    return to_rgb(image)
  pixels = np.empty((image.height, image.width, 3), np.uint8)
  for top in range(0, image.height, rows):
    bottom = min(top + rows, image.height)
    pixels[top:bottom] = to_rgb(image.crop((0, top, image.width, bottom)))
  return pixels


def _of_colours(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  if image.has_transparency_data:
    image = image.convert("RGBA")  # Else Pillow warns about some palettes.
  return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _of_16_bits(tags: Any, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  """The upper 8 bits; Pillow would turn all that is brighter than 255 to white.

  Of TIFF, Pillow gives the stored numbers: of 12 bits, or with white as zero.
  """
  bits = 12 if tags.get(_BITS) == (12,) else 16
  grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
  if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
    grey = 255 - grey
  return np.repeat(grey[..., None], 3, axis=2)


def _is_animated(image: Image.Image) -> bool:
  try:
    return bool(getattr(image, "is_animated", False))
  except Exception:
    return True  # Only the first frame counts, and it was read.


@functools.cache
def _formats() -> tuple[str, ...]:
  Image.init()
  return tuple(name for name in _FORMATS if name in Image.OPEN)

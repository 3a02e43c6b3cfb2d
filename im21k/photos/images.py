"""The one way from an image file's bytes to upright pixels, `[h, w, 3]` uint8 RGB.

Every command uses `decode`. Usual JPEGs are decoded by libjpeg-turbo (simplejpeg),
everything else by Pillow; both give the same pixels and release the GIL. Training
decodes crops of plain JPEGs by itself (`jpeg_crop`), and tests hold it to this.
"""

import functools
import io
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from im21k.photos import jpeg_header, orientation

# 400 MB of pixels; the largest photo of ImageNet has about half as many.
MAX_PIXELS = 2**27
# Formats that Pillow recognizes by their first bytes and decodes by itself: EPS, say,
# would be handed to Ghostscript.
_FORMATS = (
  "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "PSD",
  "QOI",
)  # fmt: skip
# What Pillow's decoders raise on damaged files.
_DAMAGED = (
  OSError, ValueError, SyntaxError, RuntimeError, EOFError, ArithmeticError,
  LookupError, TypeError, struct.error, MemoryError,
)  # fmt: skip
_ENDS_EARLY = (
  "end of jpeg file", "truncated", "not enough image data", "unexpected end",
)  # fmt: skip


class ImageError(ValueError):
  """A file that is no usable image; the message is the reason.

  Attributes:
    kind: `empty`, `not an image`, `too large`, `truncated` or `damaged`.
  """

  def __init__(self, reason: str, kind: str = "damaged"):
    super().__init__(reason)
    self.kind = kind


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


def decode(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
  """Any common image file, turned upright; of an animation the first frame.

  Orientation is that of EXIF, else of XMP. Alpha is dropped; of 16 bits the upper 8
  stay; bytes behind the end are ignored. Damage among coded pixels that libjpeg can
  step over is let pass, a file that ends early is not.

  Raises:
    ImageError: it is no image, is damaged, ends early, or is too large.
  """
  if not data:
    raise ImageError("no bytes", "empty")
  if not data.startswith(jpeg_header.START):
    return decode_by_pillow(data).pixels
  header = jpeg_header.read(data)
  if not header.has_end(data):
    raise ImageError("Premature end of JPEG file", "truncated")
  if header.is_common:
    check_size(header.height, header.width)
    pixels = _by_turbo(data)
    if pixels is not None:
      return orientation.upright(pixels, header.orientation)
  return decode_by_pillow(data).pixels


def decode_by_pillow(data: bytes) -> Picture:
  """The same for what is not a usual JPEG, with what the file was.

  Raises:
    ImageError: see `decode`.
  """
  try:
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
      check_size(image.height, image.width)
      tag = orientation.of_picture(image)
      is_16_bit = image.mode.startswith("I")
      is_transparent = image.has_transparency_data
      pixels = _rgb(image)
      # Pillow turns TIFF by itself while it reads the pixels, and removes the tag.
      pixels = orientation.upright(pixels, orientation.of_picture(image))
      return Picture(
        pixels,
        "JPEG" if image.format == "MPO" else image.format or "",
        is_16_bit,
        is_transparent,
        image.format != "MPO" and _is_animated(image),
        tag != orientation.UPRIGHT,
      )
  except ImageError:
    raise
  except UnidentifiedImageError as error:
    reason = f"not an image of a common format; it begins with {data[:12]!r}"
    raise ImageError(reason, "not an image") from error
  except Image.DecompressionBombError as error:
    raise ImageError(str(error), "too large") from error
  except _DAMAGED as error:
    raise image_error(error) from error


def read(path: Path) -> UInt8[np.ndarray, "h w 3"]:
  """The pixels of an image file; see `decode`.

  Raises:
    FileNotFoundError: there is no such file.
    ImageError: as from `decode`; the message begins with the path.
  """
  try:
    return decode(path.read_bytes())
  except ImageError as error:
    raise ImageError(f"{path}: {error}", error.kind) from error


def of_picture(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  """The pixels of a Pillow picture, turned upright; see `decode`.

  Raises:
    ImageError: its file is damaged, or nothing says how bright its pixels are.
  """
  try:
    return orientation.upright(_rgb(picture), orientation.of_picture(picture))
  except ImageError:
    raise
  except _DAMAGED as error:
    raise image_error(error) from error


def check_size(height: int, width: int) -> None:
  """Raises ImageError if an image has more than `MAX_PIXELS`."""
  if height * width > MAX_PIXELS:
    raise ImageError(
      f"{width}×{height} pixels are more than {MAX_PIXELS:,}", "too large"
    )


def check_jpeg(data: bytes) -> None:
  """Raises ImageError unless `data` is a usual JPEG that decodes without damage.

  Stray bytes among the coded pixels are let pass, for some writers pad with them;
  those between the segments of the header are not.
  """
  if not data:
    raise ImageError("no bytes", "empty")
  if not data.startswith(jpeg_header.START):
    raise ImageError(f"not a JPEG; it begins with {data[:12]!r}", "not an image")
  header = jpeg_header.read(data)
  try:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
  except ValueError as error:
    raise ImageError(str(error)) from error
  except KeyError as error:  # simplejpeg has no name for 4:4:1, which is rare.
    raise ImageError("chroma subsampling that simplejpeg does not know") from error
  check_size(height, width)
  if not header.has_end(data):
    raise ImageError("Premature end of JPEG file", "truncated")
  check_pixels(data)


def check_pixels(data: bytes) -> None:
  """Raises ImageError if there is damage behind a JPEG's sound header.

  Damage shows where the coded pixels are read. So neither colours nor more than one
  pixel of 64 are made of them: half the time of the whole photo, and the same verdict.
  """
  try:
    simplejpeg.decode_jpeg(
      data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8
    )
  except ValueError as error:
    # After a sound header `decode` skips these (36,700 of them tried).
    if "extraneous bytes before marker" not in str(error):
      raise image_error(error) from error


def image_error(error: BaseException) -> ImageError:
  """What a decoder raised, as an ImageError that knows whether the file ends early."""
  message = str(error) or type(error).__name__
  early = any(words in message.lower() for words in _ENDS_EARLY)
  return ImageError(message, "truncated" if early else "damaged")


def _by_turbo(jpeg: bytes) -> UInt8[np.ndarray, "h w 3"] | None:
  """Pixels as stored; None where Pillow should decide: there is damage, perhaps."""
  try:
    pixels: UInt8[np.ndarray, "h w 3"] = simplejpeg.decode_jpeg(jpeg)
    return pixels
  except (ValueError, KeyError) as error:
    if "Premature end of JPEG file" in str(error):
      raise ImageError(str(error), "truncated") from error
    return None


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
    # Pillow would turn all that is brighter than 255 of 65,535 to white.
    grey = (np.asarray(image) >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
  if image.mode in ("I", "F"):
    raise ImageError(f"nothing says how bright its pixels of mode {image.mode} are")
  if image.has_transparency_data:
    image = image.convert("RGBA")  # Else Pillow warns about some palettes.
  return np.asarray(image.convert("RGB"))


def _is_animated(image: Image.Image) -> bool:
  try:
    return bool(getattr(image, "is_animated", False))
  except _DAMAGED:
    return True  # Only the first frame counts, and it was read.


@functools.cache
def _formats() -> tuple[str, ...]:
  Image.init()
  return tuple(name for name in _FORMATS if name in Image.OPEN)

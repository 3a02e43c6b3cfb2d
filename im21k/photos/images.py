"""The one way from an image file's bytes to upright pixels, `[h, w, 3]` uint8 RGB.

Every command uses `decode`. Usual JPEGs are decoded by libjpeg-turbo (simplejpeg),
everything else by Pillow; both give the same pixels and release the GIL. Training
decodes crops of plain JPEGs by itself (`jpeg_crop`), and tests hold it to this.
"""

from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from im21k.photos import jpeg_header, jpeg_mend, limits, orientation, pillow
from im21k.photos.errors import ImageError as ImageError
from im21k.photos.errors import image_error as image_error
from im21k.photos.jpeg_header import Header

MAX_PIXELS = limits.MAX_PIXELS
check_size = limits.check_size
of_picture = pillow.of_picture
# Some writers pad with them, and `decode` skips them (36,700 of them tried).
STRAY = "extraneous bytes before marker"
# How libjpeg's warnings begin.
_WARNINGS = (
  "Corrupt JPEG data", "Premature end of JPEG file", "Warning: ", "Unknown Adobe",
  "Inconsistent progression", "Invalid SOS parameters for sequential",
)  # fmt: skip


def decode(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
  """Any common image file, turned upright; of an animation the first frame.

  Orientation is that of EXIF, else of XMP. Alpha is dropped; of 16 bits the upper 8
  stay; bytes behind the end are ignored. `packing.repair` lets in the same files.

  Raises:
    ImageError: it is no image, is damaged, ends early, is too large, or of
      a kind that no decoder reads.
  """
  if not data.startswith(jpeg_header.START):
    check_not_empty(data)
    return pillow.decode(data).pixels
  header = check_header(data)
  data = header.without_tail(data)
  try:
    pixels = _by_turbo(data) if header.is_common else None
    if pixels is None:
      _check_rare(data)
      return pillow.decode(data).pixels
  except ImageError as error:
    mended = jpeg_mend.mended(data, header, str(error))
    if mended == data:
      raise
    return decode(mended)
  return orientation.upright(pixels, header.orientation)


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


def check_not_empty(data: bytes) -> None:
  """Raises ImageError if there are no bytes, or nothing but zeros."""
  if not data:
    raise ImageError("no bytes", "empty")
  if not data[0] and not data.strip(b"\0"):
    raise ImageError("nothing but zero bytes", "zero bytes")


def check_header(jpeg: bytes) -> Header:
  """The header of a JPEG that a decoder may be given.

  Raises:
    ImageError: it is damaged, ends early, is too large, would take too long, or is
      of a kind that no decoder reads.
  """
  header = jpeg_header.read(jpeg)
  if not header.has_end(jpeg):
    raise ImageError("Premature end of JPEG file", "truncated")
  if not header.frame or not header.scan:
    raise ImageError(_header_damage(jpeg))
  limits.check_jpeg(header, jpeg)
  return header


def check_jpeg(data: bytes) -> None:
  """Raises ImageError unless `data` is a usual JPEG that decodes without damage.

  Stray bytes among the coded pixels are let pass, for some writers pad with them;
  those between the segments of the header are not.
  """
  check_not_empty(data)
  if not data.startswith(jpeg_header.START):
    raise ImageError(f"not a JPEG; it begins with {data[:12]!r}", "not an image")
  data = check_header(data).without_tail(data)
  try:
    simplejpeg.decode_jpeg_header(data)
  except ValueError as error:
    raise ImageError(str(error)) from error
  except KeyError as error:  # simplejpeg has no name for 4:4:1, which is rare.
    raise ImageError("chroma subsampling that simplejpeg does not know") from error
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
    if STRAY not in str(error):
      raise image_error(error) from error


def _check_rare(jpeg: bytes) -> None:
  """Raises ImageError for damage in a JPEG that Pillow decodes, which steps over it."""
  try:
    check_pixels(jpeg)
  except KeyError:
    pass  # It has no name for the sampling.
  except ImageError as error:
    # Others are what simplejpeg cannot do, and Pillow can.
    if str(error).startswith(_WARNINGS):
      raise


def _by_turbo(jpeg: bytes) -> UInt8[np.ndarray, "h w 3"] | None:
  """Pixels as stored; None where the sampling is one that simplejpeg does not know."""
  try:
    pixels: UInt8[np.ndarray, "h w 3"] = simplejpeg.decode_jpeg(jpeg)
    return pixels
  except KeyError:
    return None
  except ValueError as error:
    reason = str(error)
    if "subsampling" in reason:
      return None
    if STRAY not in reason:
      raise image_error(error) from error
  try:
    pixels = simplejpeg.decode_jpeg(jpeg, strict=False)
    return pixels
  except ValueError as error:
    raise image_error(error) from error


def _header_damage(jpeg: bytes) -> str:
  """What libjpeg says of a header without a frame, or with two."""
  try:
    simplejpeg.decode_jpeg_header(jpeg)
  except (ValueError, KeyError) as error:
    return str(error)
  return "no header of a frame, or more than one"

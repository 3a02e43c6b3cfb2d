"""Image files -> pixels, `[h, w, 3]` uint8 RGB.

JPEGs of the data set go through libjpeg-turbo (simplejpeg, which releases the GIL);
whatever else a user may hand to `predict` goes through Pillow.
"""

import io
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

# 400 MB of pixels; the largest photo of ImageNet has about half as many.
MAX_PIXELS = 2**27
_SIGNATURES = {
  b"\x89PNG\r\n\x1a\n": "PNG",
  b"GIF8": "GIF",
  b"BM": "BMP",
  b"RIFF": "WebP or another RIFF file",
  b"II*\0": "TIFF",
  b"MM\0*": "TIFF",
}


class ImageError(ValueError):
  """A file that is no usable image; the message is the reason."""


def check_jpeg(data: bytes, decode_all: bool = True) -> None:
  """Raises ImageError unless `data` is a JPEG that decodes without damage.

  Stray bytes among the coded pixels are let pass, for some writers pad with them;
  those between the segments of the header are not. `decode_all=False` looks at the
  header and the end marker only (3 µs instead of 0.2 ms for a photo of 500×375).
  """
  if not data:
    raise ImageError("no bytes")
  if not data.startswith(b"\xff\xd8\xff"):
    for signature, kind in _SIGNATURES.items():
      if data.startswith(signature):
        raise ImageError(f"{kind}, not JPEG")
    raise ImageError("not a JPEG")
  try:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
  except ValueError as error:
    raise ImageError(str(error)) from error
  except KeyError as error:  # simplejpeg has no name for 4:4:1, which is rare.
    raise ImageError("chroma subsampling that simplejpeg does not know") from error
  if height * width > MAX_PIXELS:
    raise ImageError(f"{width}×{height} pixels are more than {MAX_PIXELS:,}")
  if decode_all:
    check_pixels(data)
  elif not has_end(data):
    raise ImageError("Premature end of JPEG file")


def has_end(data: bytes, anywhere: bool = False) -> bool:
  """Whether a JPEG's end marker is among its last 4,096 bytes, or anywhere."""
  end = b"\xff\xd9"
  return data.endswith(end) or data.rfind(end, 0 if anywhere else -4096) >= 0


def check_pixels(data: bytes) -> None:
  """Raises ImageError if there is damage behind a sound header.

  Damage shows where the coded pixels are read. So neither colours nor more than one
  pixel of 64 are made of them: half the time of the whole photo, and the same verdict.
  """
  try:
    simplejpeg.decode_jpeg(
      data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8
    )
  except ValueError as error:
    # After a sound header `decode_jpeg` skips these (36,700 of them tried).
    if "extraneous bytes before marker" not in str(error):
      raise ImageError(str(error)) from error


def decode_jpeg(data: bytes) -> np.ndarray:
  """A JPEG's pixels, `[h, w, 3]` uint8 RGB; ImageError if it cannot be decoded."""
  try:
    return simplejpeg.decode_jpeg(data, strict=False)
  except ValueError as error:
    raise ImageError(str(error)) from error


def read(path: Path) -> np.ndarray:
  """Any common image file, turned upright, as `[h, w, 3]` uint8 RGB.

  Raises:
    FileNotFoundError: there is no such file.
    ImageError: it is no image, is damaged, or is too large.
  """
  data = path.read_bytes()
  try:
    with Image.open(io.BytesIO(data)) as image:
      if image.width * image.height > MAX_PIXELS:
        raise ImageError(
          f"{path}: {image.width}×{image.height} pixels are more than {MAX_PIXELS:,}"
        )
      return _rgb(path, ImageOps.exif_transpose(image))
  except ImageError:
    raise
  except UnidentifiedImageError as error:
    raise ImageError(f"{path} is not an image file that Pillow can read") from error
  except Image.DecompressionBombError as error:
    raise ImageError(f"{path} is too large: {error}") from error
  except (OSError, ValueError, SyntaxError, RuntimeError) as error:
    raise ImageError(f"{path} is a damaged image: {error}") from error


def of_picture(picture: Image.Image) -> np.ndarray:
  """A Pillow picture, turned upright, as `[h, w, 3]` uint8 RGB.

  Raises:
    ImageError: its file is damaged, or nothing says how bright its pixels are.
  """
  try:
    return _rgb(Path("a picture"), ImageOps.exif_transpose(picture))
  except (OSError, SyntaxError, RuntimeError) as error:
    raise ImageError(f"a picture is damaged: {error}") from error


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resizes `[h, w, 3]` uint8: mean over areas to shrink, bilinear to enlarge."""
  if image.shape[:2] == (height, width):
    return image
  shrinks = height * width < image.shape[0] * image.shape[1]
  how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
  return cv2.resize(image, (width, height), interpolation=how)


def _rgb(path: Path, image: Image.Image) -> np.ndarray:
  if image.mode.startswith("I;16"):
    # Pillow would turn all that is brighter than 255 of 65,535 to white.
    grey = (np.asarray(image) >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
  if image.mode in ("I", "F"):
    raise ImageError(
      f"{path}: nothing says how bright its pixels of mode {image.mode} are"
    )
  if image.has_transparency_data:
    image = image.convert("RGBA")  # Else Pillow warns about some palettes.
  return np.asarray(image.convert("RGB"))

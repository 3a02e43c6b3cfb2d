"""What a file really is, and what is done about it: keep, re-encode or reject.

Decided by content, never by name. `RULES` is the whole list; `prepare` applies it.
"""

import dataclasses
import io

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from im21k.photos import images

KEEP, REPAIR, REJECT = "keep", "repair", "reject"
RULES = {
  "grey": KEEP,
  "EXIF orientation": REPAIR,  # turned upright
  "CMYK": REPAIR,
  "PNG": REPAIR,
  "GIF": REPAIR,
  "BMP": REPAIR,
  "WebP": REPAIR,
  "TIFF": REPAIR,
  "16-bit": REPAIR,  # the upper 8 bits stay
  "transparent": REPAIR,  # its alpha is dropped
  "animated": REPAIR,  # the first frame stays
  "unusual sampling": REPAIR,
  "duplicate in class": KEEP,  # unless `duplicates` says otherwise
  "duplicate across classes": KEEP,
  "empty": REJECT,
  "zero bytes": REJECT,
  "not an image": REJECT,
  "truncated": REJECT,
  "damaged": REJECT,
  "too large": REJECT,
  "too small": REJECT,  # one pixel high or wide
  "unreadable": REJECT,
  "refused path": REJECT,  # absolute, or leaves its folder
  "link or device": REJECT,
  "damaged archive": REJECT,
  "name comes twice": REJECT,
  "excluded": REJECT,
  "duplicate": REJECT,
}
KINDS = tuple(RULES)
REPAIR_QUALITY = 95  # with 4:2:0, as whatever is written here
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
_NAMES = {"WEBP": "WebP", "MPO": "JPEG"}


class Rejected(ValueError):
  """A photo that is left out: `kind` is its heading, the message the reason."""

  def __init__(self, kind: str, reason: str):
    super().__init__(reason)
    self.kind = kind


@dataclasses.dataclass(frozen=True)
class Rules:
  """How photos are treated.

  Attributes:
    decode: whether each photo is decoded once to find damage inside.
    resize: short side that larger photos are made smaller to; None leaves them.
    quality: of JPEGs that were made smaller.
  """

  decode: bool = True
  resize: int | None = None
  quality: int = 90


def prepare(data: bytes, rules: Rules) -> tuple[bytes, tuple[str, ...]]:
  """The bytes to pack, and the kinds (keys of RULES) that the file is of.

  Raises:
    Rejected: the file is to be left out.
  """
  if not data:
    raise Rejected("empty", "no bytes")
  if not data.startswith(b"\xff\xd8\xff"):
    return _convert(data, rules)
  if not images.has_end(data, anywhere=rules.decode):
    raise Rejected("truncated", "Premature end of JPEG file")
  try:
    height, width, color, _ = simplejpeg.decode_jpeg_header(data)
  except KeyError:  # simplejpeg has no name for 4:4:1 and rarer ones.
    return _convert(data, rules, "unusual sampling")
  except ValueError as error:
    raise Rejected("damaged", str(error)) from error
  _check_size(height, width)
  if color in ("CMYK", "YCCK"):
    return _convert(data, rules, "CMYK")
  if _orientation(data) > 1:
    return _convert(data, rules, "EXIF orientation")
  kinds = ("grey",) if color == "Gray" else ()
  if rules.resize and min(height, width) > rules.resize:
    return _smaller(data, height, width, bool(kinds), rules), kinds
  if rules.decode:
    try:
      images.check_pixels(data)
    except images.ImageError as error:
      raise Rejected(_heading(str(error)), str(error)) from error
  return data, kinds


def _smaller(data: bytes, height: int, width: int, grey: bool, rules: Rules) -> bytes:
  """The JPEG with its short side at `rules.resize`."""
  assert rules.resize
  short = min(height, width)
  # libjpeg leaves the high frequencies out when it decodes at 1/2, 1/4 or 1/8: nothing
  # is lost as long as the filter that follows has two pixels for each of its own.
  least = [-(-side * 2 * rules.resize // short) for side in (height, width)]
  how = {"colorspace": "gray"} if grey else {}
  try:
    pixels = simplejpeg.decode_jpeg(
      data, min_height=least[0], min_width=least[1], min_factor=2, **how
    )
  except ValueError as error:
    if "extraneous bytes before marker" not in str(error):
      raise Rejected(_heading(str(error)), str(error)) from error
    pixels = simplejpeg.decode_jpeg(data, strict=False, **how)
  return _encode(_shrink(pixels, height, width, rules.resize), rules.quality)


def _shrink(pixels: np.ndarray, height: int, width: int, side: int) -> np.ndarray:
  short = min(height, width)
  size = [max(side, round(length * side / short)) for length in (height, width)]
  small = images.resize(pixels, *size)
  return small if small.ndim == 3 else small[..., None]


def _encode(pixels: np.ndarray, quality: int) -> bytes:
  grey = pixels.shape[2] == 1
  return simplejpeg.encode_jpeg(
    np.ascontiguousarray(pixels),
    quality,
    "GRAY" if grey else "RGB",
    "Gray" if grey else "420",
  )


def _convert(
  data: bytes, rules: Rules, kind: str | None = None
) -> tuple[bytes, tuple[str, ...]]:
  """Through Pillow, upright, as a JPEG of three colours."""
  if not data.strip(b"\0"):
    raise Rejected("zero bytes", "nothing but zero bytes")
  try:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
      _check_size(image.height, image.width)
      kinds = [kind or _NAMES.get(image.format or "", image.format or "")]
      if image.mode.startswith("I"):
        kinds.append("16-bit")
      if image.has_transparency_data:
        kinds.append("transparent")
      if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        kinds.append("animated")
      if image.getexif().get(0x0112, 1) in range(2, 9):
        kinds.append("EXIF orientation")
      pixels = _rgb(ImageOps.exif_transpose(image))
  except Rejected:
    raise
  except Image.UnidentifiedImageError as error:
    raise Rejected("not an image", f"begins with {data[:12]!r}") from error
  except Image.DecompressionBombError as error:
    raise Rejected("too large", str(error)) from error
  except (OSError, ValueError, SyntaxError, RuntimeError, EOFError) as error:
    raise Rejected(_heading(str(error)), str(error)) from error
  quality = REPAIR_QUALITY
  if rules.resize and min(pixels.shape[:2]) > rules.resize:
    pixels = _shrink(pixels, pixels.shape[0], pixels.shape[1], rules.resize)
    quality = rules.quality
  return _encode(pixels, quality), tuple(dict.fromkeys(kinds))


def _rgb(image: Image.Image) -> np.ndarray:
  if image.mode.startswith("I"):
    pixels = np.asarray(image)
    # Pillow gives 16-bit greys as I;16, or as I with numbers below 65,536.
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
      raise Rejected("damaged", "nothing says how bright its pixels are")
    return np.repeat((pixels >> 8).astype(np.uint8)[..., None], 3, axis=2)
  if image.mode == "F":
    raise Rejected("damaged", "nothing says how bright its pixels are")
  if image.has_transparency_data:
    image = image.convert("RGBA")
  return np.asarray(image.convert("RGB"))


def _check_size(height: int, width: int) -> None:
  if height * width > images.MAX_PIXELS:
    raise Rejected(
      "too large", f"{width}×{height} pixels are more than {images.MAX_PIXELS:,}"
    )
  if min(height, width) < 2:
    raise Rejected("too small", f"{width}×{height} pixels")


def _heading(message: str) -> str:
  words = ("end of jpeg file", "truncated", "not enough image data", "unexpected end")
  return "truncated" if any(w in message.lower() for w in words) else "damaged"


def _orientation(data: bytes) -> int:
  """EXIF's number from 1 (upright) to 8; 1 where nothing says otherwise."""
  at, last = 2, len(data) - 4
  while at <= last and data[at] == 0xFF:
    marker = data[at + 1]
    if marker == 0xDA or marker == 0xD9:  # The pixels begin, or all ends.
      return 1
    end = at + 2 + (data[at + 2] << 8 | data[at + 3])
    if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
      return _orientation_tag(data[at + 10 : end])
    at = end
  return 1


def _orientation_tag(tags: bytes) -> int:
  """The tag in a TIFF header, which is what EXIF is."""
  order = {b"II*\0": "little", b"MM\0*": "big"}.get(tags[:4])
  if order is None:
    return 1

  def number(at: int, size: int) -> int:
    return int.from_bytes(tags[at : at + size], order)  # type: ignore[arg-type]

  first = number(4, 4)
  for at in range(first + 2, first + 2 + 12 * number(first, 2), 12):
    if number(at, 2) == 0x0112:
      found = number(at + 8, 2)
      return found if 1 <= found <= 8 else 1
  return 1

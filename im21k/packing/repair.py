"""What a file really is, and what is done about it: keep, re-encode or reject.

In: the bytes of a photo. Out: the bytes to pack, and the kinds that the file is of.
Decided by content, never by name. `RULES` is the whole list; `prepare` applies it.
"""

import dataclasses
from typing import Any

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from im21k.photos import crops, images, jpeg_header, jpeg_mend, orientation, pillow
from im21k.photos.photo import Loss

KEEP, REPAIR, REJECT = "keep", "repair", "reject"
RULES = {
  "grey": KEEP,
  "EXIF orientation": REPAIR,  # of EXIF or XMP: turned upright
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
  "lossless JPEG": REPAIR,
  "other format": REPAIR,  # AVIF, JPEG 2000 and others that Pillow decodes
  "unusual header": REPAIR,  # numbers that decoders warn of; the pixels stay
  "duplicate in class": KEEP,  # unless `duplicates` says otherwise
  "duplicate across classes": KEEP,
  "empty": REJECT,
  "zero bytes": REJECT,
  "not an image": REJECT,
  "truncated": REJECT,
  "damaged": REJECT,
  "too large": REJECT,
  "too small": REJECT,  # one pixel high or wide
  "unsupported": REJECT,  # a JPEG of a kind that no decoder reads
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
_NAMES = {"WEBP": "WebP"}  # of kinds, where they are not Pillow's


class Rejected(ValueError):
  """A photo that is left out: `kind` is its heading, the message the reason.

  Attributes:
    loss: bytes of an archive that cannot be read, if that is the reason.
  """

  def __init__(self, kind: str, reason: str, loss: Loss | None = None):
    super().__init__(reason)
    self.kind, self.loss = kind, loss

  @classmethod
  def of(cls, error: images.ImageError) -> "Rejected":
    """The same for a photo whose pixels cannot be used."""
    return cls(error.kind, str(error))


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
  try:
    return _prepare(data, rules)
  except images.ImageError as error:
    mended = jpeg_mend.mended(data, jpeg_header.read(data), str(error))
    if mended == data:
      raise Rejected.of(error) from error
  jpeg, kinds = prepare(mended, rules)
  return jpeg, ("unusual header", *kinds)


def _prepare(data: bytes, rules: Rules) -> tuple[bytes, tuple[str, ...]]:
  if not data.startswith(jpeg_header.START):
    images.check_not_empty(data)
    return _convert(data, rules)
  header = images.check_header(data)
  if kind := _rare_kind(header):
    return _convert(data, rules, kind)
  try:
    height, width, color, _ = simplejpeg.decode_jpeg_header(data)
  except KeyError:  # simplejpeg has no name for 4:4:1 and rarer ones.
    return _convert(data, rules, "unusual sampling")
  except ValueError as error:
    if "subsampling" in str(error):
      return _convert(data, rules, "unusual sampling")
    raise images.image_error(error) from error
  _check_size(height, width)
  if header.orientation != orientation.UPRIGHT:
    return _convert(data, rules, "EXIF orientation")
  kinds = ("grey",) if color == "Gray" else ()
  if rules.resize and min(height, width) > rules.resize:
    alone = header.without_tail(data)
    return _smaller(alone, height, width, bool(kinds), rules), kinds
  if rules.decode:
    images.check_pixels(header.without_tail(data))
  return data, kinds


def _rare_kind(header: jpeg_header.Header) -> str | None:
  if len(header.factors) == 4:
    return "CMYK"
  return "lossless JPEG" if header.coding == jpeg_header.LOSSLESS else None


def _smaller(data: bytes, height: int, width: int, grey: bool, rules: Rules) -> bytes:
  """The JPEG with its short side at `rules.resize`."""
  assert rules.resize
  short = min(height, width)
  # libjpeg leaves the high frequencies out when it decodes at 1/2, 1/4 or 1/8: nothing
  # is lost as long as the filter that follows has two pixels for each of its own.
  least = [-(-side * 2 * rules.resize // short) for side in (height, width)]
  how: dict[str, Any] = {"colorspace": "gray"} if grey else {}
  try:
    pixels = simplejpeg.decode_jpeg(
      data, min_height=least[0], min_width=least[1], min_factor=2, **how
    )
  except ValueError as error:
    if images.STRAY not in str(error):
      raise images.image_error(error) from error
    pixels = simplejpeg.decode_jpeg(data, strict=False, **how)
  return _encode(_shrink(pixels, height, width, rules.resize), rules.quality)


def _shrink(
  pixels: UInt8[np.ndarray, "h w c"], height: int, width: int, side: int
) -> UInt8[np.ndarray, "small_h small_w c"]:
  short = min(height, width)
  size = [max(side, round(length * side / short)) for length in (height, width)]
  small = crops.resize(pixels, *size)
  return small if small.ndim == 3 else small[..., None]


def _encode(pixels: UInt8[np.ndarray, "h w c"], quality: int) -> bytes:
  grey = pixels.shape[2] == 1
  jpeg: bytes = simplejpeg.encode_jpeg(
    np.ascontiguousarray(pixels),
    quality,
    "GRAY" if grey else "RGB",
    "Gray" if grey else "420",
  )
  return jpeg


def _convert(
  data: bytes, rules: Rules, kind: str | None = None
) -> tuple[bytes, tuple[str, ...]]:
  """Upright, as a JPEG of three colours; `kind` is that of a JPEG."""
  if kind:
    pixels, kinds = images.decode(data), [kind]
    was_turned = jpeg_header.read(data).orientation != orientation.UPRIGHT
  else:
    picture = pillow.decode(data)
    pixels, was_turned = picture.pixels, picture.was_turned
    name = _NAMES.get(picture.format, picture.format)
    kinds = [name if name in RULES else "other format"]
    if picture.is_16_bit:
      kinds.append("16-bit")
    if picture.is_transparent:
      kinds.append("transparent")
    if picture.is_animated:
      kinds.append("animated")
  if was_turned:
    kinds.append("EXIF orientation")
  _check_size(*pixels.shape[:2])
  quality = REPAIR_QUALITY
  if rules.resize and min(pixels.shape[:2]) > rules.resize:
    pixels = _shrink(pixels, pixels.shape[0], pixels.shape[1], rules.resize)
    quality = rules.quality
  return _encode(pixels, quality), tuple(dict.fromkeys(kinds))


def _check_size(height: int, width: int) -> None:
  if min(height, width) < 2:
    raise Rejected("too small", f"{width}×{height} pixels")

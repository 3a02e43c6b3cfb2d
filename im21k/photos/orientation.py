"""Which way up a photo is: EXIF and XMP orientation, and pixels turned by it.

In: the bytes of an EXIF or XMP segment, or a Pillow image. Out: EXIF's number from 1
(upright) to 8, and pixels that are upright.
"""

import re
import struct

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image

_TAG = 0x0112
# Bytes of a value, by EXIF's type: BYTE, SHORT, LONG, and the signed three.
_SIZES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4}
# As an attribute, tiff:Orientation="6", or an element, <tiff:Orientation>6<.
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")
UPRIGHT = 1


def of_segments(exif: bytes, xmp: bytes) -> int:
  """The orientation that a JPEG's segments give; EXIF goes before XMP.

  Args:
    exif: payload of the EXIF segment, a TIFF header and its tags; or nothing.
    xmp: payload of the XMP segment; or nothing.
  """
  tag = _of_exif(exif) if exif else None
  if tag is None and xmp:
    tag = _of_xmp(xmp)
  return UPRIGHT if tag is None else tag


def of_picture(picture: Image.Image) -> int:
  """The orientation of a file that Pillow has opened."""
  if picture.format in ("JPEG", "MPO"):
    info = picture.info
    exif = info.get("exif", b"").removeprefix(b"Exif\0\0")
    return of_segments(exif, info.get("xmp", b""))
  try:
    tag = picture.getexif().get(_TAG)
  except Exception:  # Pillow raises nearly anything.
    return UPRIGHT  # The tags are damaged; the pixels need not be.
  if tag is None:
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    tag = _of_xmp(xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp)
  return tag if isinstance(tag, int) and 1 <= tag <= 8 else UPRIGHT


def upright(
  pixels: UInt8[np.ndarray, "h w 3"], orientation: int
) -> UInt8[np.ndarray, "turned_h turned_w 3"]:
  """The pixels turned and mirrored as `orientation` says; contiguous."""
  if orientation == UPRIGHT:
    return pixels
  turned: npt.NDArray[np.uint8] = pixels
  if orientation in (3, 4, 6, 7):
    turned = turned[::-1]
  if orientation in (2, 3, 7, 8):
    turned = turned[:, ::-1]
  if orientation >= 5:
    turned = turned.transpose(1, 0, 2)
  return np.ascontiguousarray(turned)


def _of_exif(tags: bytes) -> int | None:
  """The tag in the first directory of a TIFF header; None if it is not there."""
  order = {b"II*\0": "<", b"MM\0*": ">"}.get(tags[:4])
  if order is None:
    return None
  try:
    (first,) = struct.unpack_from(f"{order}I", tags, 4)
    (count,) = struct.unpack_from(f"{order}H", tags, first)
    for at in range(first + 2, first + 2 + 12 * count, 12):
      tag, kind = struct.unpack_from(f"{order}HH", tags, at)
      if tag == _TAG:
        value = tags[at + 8 : at + 8 + _SIZES.get(kind, 0)]
        number = int.from_bytes(value, "little" if order == "<" else "big")
        return number if 1 <= number <= 8 else UPRIGHT
  except struct.error:
    pass  # The segment ends early.
  return None


def _of_xmp(xmp: bytes) -> int | None:
  match = _XMP.search(xmp)
  return int(match[1]) if match else None

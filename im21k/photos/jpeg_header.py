"""The segments of a JPEG before its coded pixels, read without decoding.

In: the bytes of a JPEG. Out: its `Header`: size, coding, sampling, EXIF and XMP.
"""

import re
from typing import NamedTuple

from im21k.photos import orientation

START = b"\xff\xd8\xff"
END = b"\xff\xd9"
BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _APP1 = 0xDA, 0xE1
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_FILL = re.compile(b"\xff+")


class Header(NamedTuple):
  """What a JPEG's header says.

  Attributes:
    frame: offset of the frame's marker; 0 where there is none, or more than one.
    scan: offset of the first scan's marker; 0 where there is none.
    coding: the frame's marker: BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS or rarer.
    precision: bits of a sample.
    height, width: in pixels, as stored.
    factors: horizontal and vertical sampling factor of each component, as one byte.
    in_scan: number of components in the first scan.
    exif, xmp: payloads of the first such segments.
  """

  frame: int
  scan: int
  coding: int = 0
  precision: int = 0
  height: int = 0
  width: int = 0
  factors: bytes = b""
  in_scan: int = 0
  exif: bytes = b""
  xmp: bytes = b""

  @property
  def orientation(self) -> int:
    """EXIF's number from 1 (upright) to 8."""
    return orientation.of_segments(self.exif, self.xmp)

  @property
  def is_common(self) -> bool:
    """Whether it is a lossy JPEG of 8 bits, grey or of three components."""
    return (
      self.frame > 0
      and self.coding != LOSSLESS
      and self.precision == 8
      and len(self.factors) in (1, 3)
    )

  def has_end(self, jpeg: bytes) -> bool:
    """Whether the end marker follows the first scan.

    Coded pixels never hold it. A thumbnail before them does, and is not taken for it.
    """
    return jpeg.endswith(END) or jpeg.rfind(END, max(2, self.scan)) >= 0


def read(jpeg: bytes) -> Header:
  """The header of a JPEG; what is missing or damaged stays 0 or empty."""
  at, last, frames, frame = 2, len(jpeg) - 4, 0, 0
  exif = xmp = b""
  while at <= last and jpeg[at] == 0xFF:
    marker = jpeg[at + 1]
    if marker == 0xFF:  # Any number of them may go before a marker.
      fill = _FILL.match(jpeg, at)
      assert fill
      at = fill.end() - 1
      continue
    if marker in _WITHOUT_LENGTH:
      at += 2
      continue
    if marker == 0xD9:
      break
    if marker == _SCAN:
      return _header(jpeg, frame if frames == 1 else 0, at, exif, xmp)
    end = at + 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    if marker in _FRAMES:
      frame, frames = at, frames + 1
    elif marker == _APP1:
      if not exif and jpeg.startswith(_EXIF, at + 4):
        exif = jpeg[at + 4 + len(_EXIF) : end]
      elif not xmp and jpeg.startswith(_XMP, at + 4):
        xmp = jpeg[at + 4 + len(_XMP) : end]
    at = end
  return _header(jpeg, frame if frames == 1 else 0, 0, exif, xmp)


def _header(jpeg: bytes, frame: int, scan: int, exif: bytes, xmp: bytes) -> Header:
  in_scan = jpeg[scan + 4] if scan and scan + 4 < len(jpeg) else 0
  count = jpeg[frame + 9] if frame and frame + 9 < len(jpeg) else 0
  factors = jpeg[frame + 11 : frame + 10 + 3 * count : 3] if count else b""
  if not count or len(factors) < count:
    return Header(0, scan, in_scan=in_scan, exif=exif, xmp=xmp)
  return Header(
    frame, scan, jpeg[frame + 1], jpeg[frame + 4],
    jpeg[frame + 5] << 8 | jpeg[frame + 6], jpeg[frame + 7] << 8 | jpeg[frame + 8],
    factors, in_scan, exif, xmp,
  )  # fmt: skip

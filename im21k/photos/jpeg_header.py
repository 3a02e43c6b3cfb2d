"""The segments of a JPEG before its coded pixels, read without decoding.

In: the bytes of a JPEG. Out: its `Header`: size, coding, sampling, EXIF and XMP; and
the scans of its coded pixels.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from im21k.photos import orientation

START = b"\xff\xd8\xff"
END = b"\xff\xd9"
BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
ARITHMETIC, PROGRESSIVE_ARITHMETIC = 0xC9, 0xCA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN, _APP1 = 0xDA, 0xE1
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# Followed by the 32 digits of a name that the first XMP gives, the length of the whole
# and the offset of this part, each four bytes; then the part.
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_NAME, _OFFSET, _PART = slice(32), slice(36, 40), slice(40, None)
# Sampling factors of 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1 and grey as everybody writes
# them. libjpeg-turbo names 2×1, 2×1, 2×1 4:4:4 too, but cuts it at other columns.
_USUAL_FACTORS = frozenset(
  bytes(factors)
  for factors in (
    (0x11, 0x11, 0x11), (0x21, 0x11, 0x11), (0x22, 0x11, 0x11), (0x12, 0x11, 0x11),
    (0x41, 0x11, 0x11), (0x11,),
  )
)  # fmt: skip
_FILL = re.compile(b"\xff+")
# Among coded pixels 0xFF is followed by 0, or by the number of a restart.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


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
    exif, xmp: payloads of these segments, joined where there are several.
    names: the name of each component, as one byte.
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
  names: bytes = b""

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

  @property
  def is_plain(self) -> bool:
    """Whether it is baseline, sampled as usual, and all of it in one scan."""
    return (
      self.coding in (BASELINE, EXTENDED)
      and self.precision == 8
      and self.factors in _USUAL_FACTORS
      and self.in_scan == len(self.factors)
      and self.height > 0
      and self.width > 0
    )

  @property
  def is_in_one_scan(self) -> bool:
    """Whether its pixels can be made while they are read."""
    return (
      self.coding in (BASELINE, EXTENDED, ARITHMETIC, LOSSLESS)
      and self.in_scan == len(self.factors)
    )  # fmt: skip

  @property
  def largest_factors(self) -> tuple[int, int]:
    """The largest horizontal and vertical sampling factor."""
    return max(f >> 4 for f in self.factors), max(f & 15 for f in self.factors)

  @property
  def blocks(self) -> list[int]:
    """Number of blocks of 8×8 samples of each component."""
    most_h, most_v = self.largest_factors
    return [
      -(-self.width * (f >> 4) // (8 * most_h or 8))
      * -(-self.height * (f & 15) // (8 * most_v or 8))
      for f in self.factors
    ]

  def has_end(self, jpeg: bytes) -> bool:
    """Whether the end marker follows the first scan.

    Coded pixels never hold it. A thumbnail before them does, and is not taken for it.
    """
    return jpeg.endswith(END) or jpeg.find(END, max(2, self.scan)) >= 0

  def without_tail(self, jpeg: bytes) -> bytes:
    """A plain JPEG without what is behind its end, such as a film.

    Where many bytes follow, libjpeg-turbo steps over damaged codes in another way.
    """
    if jpeg.endswith(END) or not self.is_plain:
      return jpeg
    end = jpeg.find(END, max(2, self.scan))
    return jpeg if end < 0 else jpeg[: end + len(END)]


def read(jpeg: bytes) -> Header:
  """The header of a JPEG; what is missing or damaged stays 0 or empty."""
  at, last, frames, frame = 2, len(jpeg) - 4, 0, 0
  exif = xmp = b""
  more_xmp: list[bytes] = []
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
    if marker == SCAN:
      if more_xmp:
        xmp += _joined(more_xmp, xmp)
      return _header(jpeg, frame if frames == 1 else 0, at, exif, xmp)
    end = at + 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    if marker in _FRAMES:
      frame, frames = at, frames + 1
    elif marker == _APP1:
      if jpeg.startswith(_EXIF, at + 4):
        exif += jpeg[at + 4 + len(_EXIF) : end]
      elif not xmp and jpeg.startswith(_XMP, at + 4):
        xmp = jpeg[at + 4 + len(_XMP) : end]
      elif jpeg.startswith(_MORE_XMP, at + 4):
        more_xmp.append(jpeg[at + 4 + len(_MORE_XMP) : end])
    at = end
  return _header(jpeg, frame if frames == 1 else 0, 0, exif, xmp)


def scans(jpeg: bytes, header: Header) -> Iterator[bytes]:
  """The names of the components in each scan, up to the end marker."""
  for at in segments(jpeg, header.scan):
    if jpeg[at + 1] == SCAN:
      yield jpeg[at + 5 : at + 5 + 2 * jpeg[at + 4] : 2]


def segments(jpeg: bytes, at: int) -> Iterator[int]:
  """Offsets of the segments from the marker at `at` to the end, coded pixels between.

  The last four bytes are no segment.
  """
  last = len(jpeg) - 4
  while 0 < at < last and jpeg[at + 1] != 0xD9:
    if jpeg[at + 1] not in _WITHOUT_LENGTH:
      yield at
      at += jpeg[at + 2] << 8 | jpeg[at + 3]
    found = _MARKER.search(jpeg, at + 2)
    at = found.start() if found else 0


def _joined(parts: list[bytes], xmp: bytes) -> bytes:
  """The parts of extended XMP that belong to the first, in their order."""
  named = (part for part in parts if part[_NAME] in xmp)
  return b"".join(part[_PART] for part in sorted(named, key=lambda p: p[_OFFSET]))


def _header(jpeg: bytes, frame: int, scan: int, exif: bytes, xmp: bytes) -> Header:
  in_scan = jpeg[scan + 4] if scan and scan + 4 < len(jpeg) else 0
  count = jpeg[frame + 9] if frame and frame + 9 < len(jpeg) else 0
  factors = jpeg[frame + 11 : frame + 10 + 3 * count : 3] if count else b""
  if not count or len(factors) < count:
    return Header(0, scan, in_scan=in_scan, exif=exif, xmp=xmp)
  return Header(
    frame, scan, jpeg[frame + 1], jpeg[frame + 4],
    jpeg[frame + 5] << 8 | jpeg[frame + 6], jpeg[frame + 7] << 8 | jpeg[frame + 8],
    factors, in_scan, exif, xmp, jpeg[frame + 10 : frame + 10 + 3 * count : 3],
  )  # fmt: skip

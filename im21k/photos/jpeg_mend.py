"""Numbers of a JPEG that decoders warn of, and no pixel depends on -> set right.

In: the bytes of a JPEG whose decoder warned. Out: bytes that it decodes without a
warning to the same pixels. A decoder reports its first warning only: behind a harmless
one, damage would go unseen.
"""

from im21k.photos import jpeg_header
from im21k.photos.jpeg_header import Header

_HARMLESS = (
  "unknown JFIF revision",
  "Unknown Adobe color transform",
  "Invalid SOS parameters for sequential",
)
_JFIF, _ADOBE = 0xE0, 0xEE
_OF_ALL_COEFFICIENTS = b"\0\x3f\0"
_SEQUENTIAL = (jpeg_header.BASELINE, jpeg_header.EXTENDED, jpeg_header.ARITHMETIC)


def mended(jpeg: bytes, header: Header, warning: str) -> bytes:
  """The JPEG with usual numbers; the same bytes where the warning is another.

  The revision of JFIF becomes 1; an unknown colour transform YCbCr or YCCK, as which
  libjpeg takes it; and a scan of a sequential JPEG is one of all coefficients.
  """
  if not any(words in warning for words in _HARMLESS):
    return jpeg
  data = bytearray(jpeg)
  for at in jpeg_header.segments(jpeg, 2):
    marker = jpeg[at + 1]
    if marker == _JFIF and jpeg.startswith(b"JFIF\0", at + 4):
      data[at + 9 : at + 10] = b"\1"
    elif marker == _ADOBE and jpeg.startswith(b"Adobe", at + 4):
      usual = 2 if len(header.factors) == 4 else 1
      if jpeg[at + 15] not in (0, usual):
        data[at + 15] = usual
    elif marker == jpeg_header.SCAN and header.coding in _SEQUENTIAL:
      end = at + 5 + 2 * jpeg[at + 4]
      if end + 3 <= len(data):
        data[end : end + 3] = _OF_ALL_COEFFICIENTS
  return bytes(data)

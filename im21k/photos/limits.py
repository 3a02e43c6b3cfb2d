"""How much a decoder may have to do, known before it begins.

In: what a file's header says. Out: nothing, or an ImageError that says what is too
much. A file of less than 1 MB, whatever it says, then takes less than 1 GiB and some
seconds (`benchmarks/fuzz_images.py`; the table is in docs/packing.md).
"""

import struct
from collections.abc import Iterator

from im21k.photos import jpeg2000
from im21k.photos.errors import ImageError
from im21k.photos.jpeg_header import (
  ARITHMETIC,
  BASELINE,
  EXTENDED,
  LOSSLESS,
  PROGRESSIVE,
  PROGRESSIVE_ARITHMETIC,
  Header,
  scans,
)

# Of libjpeg, which also writes what packing converts.
MAX_SIDE = 65_500
# Of a usual JPEG in one scan: 400 MB of pixels; ImageNet's largest has half as many.
MAX_PIXELS = 2**27
# Of other JPEGs, whose coefficients are held too, and of what Pillow decodes.
OTHER_PIXELS = 2**26
# Where a decoder holds many copies: 23 bytes a pixel in WebP.
PIXELS = {"WEBP": 2**25, "AVIF": 2**25, "JPEG2000": 2**25}
# Blocks of 8×8 samples over all scans of a JPEG: up to 100 ns each, where a scan that
# refines goes through them without reading a bit. A photo of 2^26 pixels in the usual
# ten scans has 9 million.
MAX_BLOCKS = 2**26
# A block of arithmetic or lossless coding takes as long as so many others.
_SLOW = 16
_DECODED = frozenset(
  (BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, ARITHMETIC, PROGRESSIVE_ARITHMETIC)
)
_ICON = b"\0\0\1\0"
_CODINGS = {
  LOSSLESS: "lossless JPEG",
  0xC5: "hierarchical JPEG",
  0xC6: "hierarchical progressive JPEG",
  0xC7: "hierarchical lossless JPEG",
  0xCB: "lossless JPEG in arithmetic coding",
  0xCD: "hierarchical JPEG in arithmetic coding",
  0xCE: "hierarchical progressive JPEG in arithmetic coding",
  0xCF: "hierarchical lossless JPEG in arithmetic coding",
}


def check_size(height: int, width: int, most: int = MAX_PIXELS) -> None:
  """Raises ImageError if an image has too many pixels or too long a side.

  Args:
    height, width: in pixels.
    most: number of pixels.
  """
  if height * width > most:
    raise ImageError(f"{width}×{height} pixels are more than {most:,}", "too large")
  if max(height, width) > MAX_SIDE:
    raise ImageError(
      f"{width}×{height} pixels: a side is longer than {MAX_SIDE:,}", "too large"
    )


def check_jpeg(header: Header, jpeg: bytes) -> None:
  """Raises ImageError for what no decoder reads, or what takes too long.

  Args:
    header: of a JPEG, with a frame.
    jpeg: the JPEG.
  """
  if header.is_plain:
    check_size(header.height, header.width)
    return
  if reason := _unsupported(header):
    raise ImageError(reason, "unsupported")
  if not header.width:
    raise ImageError("its width is 0")
  usual = header.is_common and header.is_in_one_scan
  check_size(header.height, header.width, MAX_PIXELS if usual else OTHER_PIXELS)
  if usual and header.coding != ARITHMETIC:
    return
  blocks = header.blocks
  slow = header.coding not in (BASELINE, EXTENDED, PROGRESSIVE)
  most = MAX_BLOCKS // (_SLOW if slow else 1)
  # Mostly these say enough: each scan has ten bytes, and as many blocks as all of them.
  if sum(blocks) * (len(jpeg) // 10) <= most:
    return
  if sum(blocks) * (jpeg.count(b"\xff\xda", header.scan) or 1) <= most:
    return
  of_name = dict(zip(header.names, blocks, strict=True))
  done = 0
  for count, names in enumerate(scans(jpeg, header)):
    done += sum(of_name.get(name, max(blocks)) for name in names)
    if done > most:
      raise ImageError(
        f"{header.width}×{header.height} pixels in more than {count:,} scans "
        "take too long",
        "too large",
      )


def check_picture(kind: str, height: int, width: int, data: bytes) -> None:
  """Raises ImageError if a file of another format than JPEG is too large.

  Args:
    kind: Pillow's name of the format.
    height, width: in pixels, as Pillow reads them.
    data: the file.
  """
  check_size(height, width, PIXELS.get(kind, OTHER_PIXELS))
  if kind == "JPEG2000":
    jpeg2000.check(data, PIXELS[kind])


def check_unopened(data: bytes) -> None:
  """Raises ImageError where Pillow takes memory before it tells the size.

  For a WebP as it opens the file. Of a Windows icon it decodes the picture then, and
  believes the picture's own header, not that of the icon.
  """
  if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
    check_size(*_size_of_webp(data), PIXELS["WEBP"])
  elif data.startswith(_ICON):
    for height, width in _sizes_in_icon(data):
      if height * width > OTHER_PIXELS:
        check_size(height, width, OTHER_PIXELS)


def _size_of_webp(data: bytes) -> tuple[int, int]:
  """Height and width; zeros where the file ends early."""
  kind, head = data[12:16], data[20:30].ljust(10, b"\0")
  if kind == b"VP8X":
    width, height = head[4:7], head[7:10]
    return 1 + int.from_bytes(height, "little"), 1 + int.from_bytes(width, "little")
  if kind == b"VP8L":
    (bits,) = struct.unpack_from("<I", head, 1)
    return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
  width, height = struct.unpack_from("<HH", head, 6)
  return height & 0x3FFF, width & 0x3FFF


def _sizes_in_icon(data: bytes) -> Iterator[tuple[int, int]]:
  for at in range(6, len(data) - 15, 16):
    if at >= 6 + 16 * int.from_bytes(data[4:6], "little"):
      return
    (start,) = struct.unpack_from("<I", data, at + 12)
    if data.startswith(b"\x89PNG", start):
      sizes = struct.iter_unpack(">II", data[start + 16 : start + 24].ljust(8, b"\0"))
    else:
      sizes = struct.iter_unpack("<ii", data[start + 4 : start + 12].ljust(8, b"\0"))
    yield from ((abs(height), abs(width)) for width, height in sizes)


def _unsupported(header: Header) -> str | None:
  """What no decoder at hand reads, by its name."""
  name = _CODINGS.get(header.coding, "JPEG")
  if header.coding not in _DECODED:
    return f"{name} (SOF{header.coding - BASELINE}) is not supported"
  if header.precision != 8:
    return f"{name} with {header.precision} bits of a sample is not supported"
  if len(header.factors) not in (1, 3, 4):
    return f"{name} with {len(header.factors)} components is not supported"
  if not header.height:
    return f"{name} whose height comes behind its pixels (DNL) is not supported"
  h, v = header.largest_factors
  parts = [(f >> 4, f & 15) for f in header.factors]
  if any(not x or not y or h % x or v % y for x, y in parts):
    text = ", ".join(f"{x}×{y}" for x, y in parts)
    return f"{name} with sampling {text}, no whole ratios, is not supported"
  return None

"""What the decoder of a JPEG 2000 file would have to hold, from its headers.

In: the bytes of a file. Out: nothing, or an ImageError. A few bytes can ask for
millions of tiles, layers and precincts; but each packet has at least one byte, and each
tile 14, so that a sound file has as many bytes.
"""

import struct
from collections.abc import Iterator

from im21k.photos.errors import ImageError

_START = b"\xff\x4f\xff\x51"  # Start of the codestream, and size.
_TILE, _DATA, _END = 0xFF90, 0xFF93, 0xFFD9
_CODING, _CODING_OF_COMPONENT = 0xFF52, 0xFF53
_COMPONENTS, _LEAST_OF_TILE = 4, 14


def check(data: bytes, most_pixels: int) -> None:
  """Raises ImageError if the file asks for more than it can hold, or is cut short."""
  start = data.find(_START)
  try:
    if start < 0:
      raise ImageError("no codestream")
    _check(data, start, most_pixels)
  except (struct.error, IndexError) as error:
    raise ImageError("the header ends early", "truncated") from error


def _check(data: bytes, start: int, most_pixels: int) -> None:
  head = struct.unpack_from(">8IH", data, start + 8)
  x, y, x0, y0, tile_w, tile_h, _, _, parts = head
  width, height = x - x0, y - y0
  if width * height > most_pixels:
    reason = f"{width}×{height} pixels are more than {most_pixels:,}"
    raise ImageError(reason, "too large")
  if not 0 < parts <= _COMPONENTS or not tile_w or not tile_h:
    raise ImageError(f"{parts} components in tiles of {tile_w}×{tile_h}")
  across, along = -(-x // tile_w), -(-y // tile_h)
  tiles, layers, precincts = across * along, 1, 1
  if tiles > len(data) // _LEAST_OF_TILE:
    raise ImageError(f"{tiles:,} tiles are more than its {len(data):,} bytes can hold")
  size = width // across, height // along
  for marker, payload in _segments(data, start):
    if marker == _CODING:
      layers = max(layers, *struct.unpack_from(">H", payload, 2))
      precincts = max(precincts, _precincts(payload[5:], payload[0], *size))
    elif marker == _CODING_OF_COMPONENT:
      precincts = max(precincts, _precincts(payload[2:], payload[1], *size))
  packets = tiles * layers * precincts * parts
  if packets > len(data):
    reason = f"{packets:,} packets are more than its {len(data):,} bytes can hold"
    raise ImageError(reason)


def _precincts(coding: bytes, style: int, width: int, height: int) -> int:
  """Number of precincts of one component of a tile over all resolutions."""
  levels, total = coding[0], 0
  if levels > 32:
    raise ImageError(f"{levels} levels of resolution")
  for level in range(levels + 1):
    size = coding[5 + level] if style & 1 else 0xFF
    down = levels - level
    across, along = (size & 15) + down, (size >> 4) + down
    total += max(1, width >> across) * max(1, height >> along)
  return total


def _segments(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
  """Marker and payload of the segments of the main header, and of each tile's."""
  at = start + 2
  while at + 4 <= len(data):
    marker, length = struct.unpack_from(">HH", data, at)
    if marker in (_DATA, _END) or marker < 0xFF00:
      return
    if marker == _TILE:
      (size,) = struct.unpack_from(">I", data, at + 6)
      yield from _of_tile(data, at + 12, at + size if size else len(data))
      if size < 14:
        return
      at += size
      continue
    yield marker, data[at + 4 : at + 2 + length]
    at += 2 + length


def _of_tile(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
  while at + 4 <= min(end, len(data)):
    marker, length = struct.unpack_from(">HH", data, at)
    if marker == _DATA or marker < 0xFF00:
      return
    yield marker, data[at + 4 : at + 2 + length]
    at += 2 + length

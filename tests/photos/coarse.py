"""JPEGs written by hand: any sampling, any order of scans, one value for each block.

Pillow and simplejpeg write only usual ones. Each block of 8×8 samples has one value, so
that a few lines code it; all tables are as small as can be.
"""

import struct

import numpy as np

# Huffman codes of the number of bits of a difference: 4 bits for each of 0 to 11.
_DC = bytes((0, 0, 0, 12, *[0] * 12, *range(12)))
_AC = bytes((1, *[0] * 15, 0))  # One bit: the block ends here.


def segment(marker: int, payload: bytes) -> bytes:
  return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def scan(names, first: int = 0, last: int = 63, tables: int = 0) -> bytes:
  parts = b"".join(bytes((name, tables)) for name in names)
  return segment(0xDA, bytes((len(names),)) + parts + bytes((first, last, 0)))


def frame(height: int, width: int, factors, coding: int, names, precision=8) -> bytes:
  parts = (bytes((n, f, 0)) for n, f in zip(names, factors, strict=True))
  head = struct.pack(">BHHB", precision, height, width, len(factors))
  return segment(coding, head + b"".join(parts))


def tables(step: int = 1) -> bytes:
  """Of quantization (DC is eight times a sample) and of Huffman codes."""
  return (
    segment(0xDB, b"\0" + bytes((step,)) * 64)
    + segment(0xC4, b"\0" + _DC)
    + segment(0xC4, b"\x10" + _AC)
  )


def jpeg(
  height: int,
  width: int,
  factors: bytes,
  *,
  seed: int = 0,
  coding: int = 0xC0,
  together: bool = True,
  names: bytes = b"\1\2\3\4",
  header: bytes = b"",
  restart: int = 0,
  precision: int = 8,
  more_scans: int = 0,
) -> bytes:
  """A picture of random blocks.

  Args:
    height, width: in pixels.
    factors: sampling factors of each component, as in the file.
    seed: of the blocks.
    coding: marker of the frame: 0xC0 baseline, 0xC2 progressive.
    together: whether all components share one scan.
    names: of the components.
    header: segments to begin with.
    restart: MCUs between restart markers; 0 for none.
    precision: bits of a sample that the header tells.
    more_scans: number of scans without data behind the others.
  """
  rng = np.random.default_rng(seed)
  names = names[: len(factors)]
  most_h, most_v = max(f >> 4 for f in factors), max(f & 15 for f in factors)
  groups = [range(len(factors))] if together else [[c] for c in range(len(factors))]
  parts = [b"\xff\xd8", header, tables()]
  parts.append(frame(height, width, factors, coding, names, precision))
  if restart:
    parts.append(segment(0xDD, struct.pack(">H", restart)))
  last = 0 if coding == 0xC2 else 63
  for group in groups:
    parts.append(scan([names[c] for c in group], 0, last))
    if len(group) > 1:
      count = -(-width // (8 * most_h)) * -(-height // (8 * most_v))
      blocks = [(c, (factors[c] >> 4) * (factors[c] & 15)) for c in group]
    else:
      h, v = factors[group[0]] >> 4, factors[group[0]] & 15
      count = -(-width * h // (8 * most_h)) * -(-height * v // (8 * most_v))
      blocks = [(group[0], 1)]
    parts.append(_coded(rng, count, blocks, restart, coding))
  for extra in range(more_scans):
    parts.append(scan([names[extra % len(names)]], 1, 63))
  return b"".join(parts) + b"\xff\xd9"


def _coded(rng, mcus: int, blocks, restart: int, coding: int) -> bytes:
  bits: list[str] = []
  out, before = b"", {c: 0 for c, _ in blocks}
  for mcu in range(mcus):
    if restart and mcu and mcu % restart == 0:
      out += _stuffed(bits) + bytes((0xFF, 0xD0 + (mcu // restart - 1) % 8))
      bits, before = [], dict.fromkeys(before, 0)
    for c, count in blocks:
      for _ in range(count):
        # Of -128 to 127 in samples, smooth enough that nothing is cut off.
        value = int(rng.integers(-60, 60)) * 8
        bits.append(_difference(value - before[c]))
        if coding != 0xC2:
          bits.append("0")
        before[c] = value
  return out + _stuffed(bits)


def _difference(value: int) -> str:
  size = abs(value).bit_length()
  if not size:
    return "0000"
  low = value if value > 0 else value + (1 << size) - 1
  return f"{size:04b}{low:0{size}b}"


def _stuffed(bits: list[str]) -> bytes:
  text = "".join(bits)
  text += "1" * (-len(text) % 8)
  data = int(text, 2).to_bytes(len(text) // 8, "big") if text else b""
  return data.replace(b"\xff", b"\xff\0")

"""Rare kinds of pictures with the right pixels, and what every verb refuses."""

import struct
import zlib

import coarse
import numpy as np
from kinds import CASES, HEIGHT, WIDTH, XMP, picture, reference, saved
from kinds import exif as exif_of
from PIL import Image, features

_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_TURN = '<x:xmpmeta xmlns:x="a"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
_444, _420 = b"\x11\x11\x11", b"\x22\x11\x11"
_SMALL = 40, 56


def app1(*payloads: bytes) -> bytes:
  return b"".join(coarse.segment(0xE1, payload) for payload in payloads)


def adobe(transform: int) -> bytes:
  return coarse.segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))


def jfif(major: int) -> bytes:
  return coarse.segment(0xE0, b"JFIF\0" + bytes((major, 1, 0, 0, 1, 0, 1, 0, 0)))


def turned(pixels: np.ndarray) -> np.ndarray:
  """Upright, where orientation 6 is given."""
  return np.rot90(pixels, -1)


def more_xmp(text: bytes, name: bytes = b"A" * 32) -> tuple[bytes, ...]:
  """The first XMP, and the rest in two parts, the second before the first."""
  first = XMP + b'<a xmpNote:HasExtendedXMP="' + b"A" * 32 + b'"/>'
  half = len(text) // 2
  parts = [
    _MORE_XMP + name + struct.pack(">II", len(text), at) + text[at:][:half]
    for at in range(0, len(text), half)
  ]
  return first, *reversed(parts)


def png(pixels: np.ndarray, colour: int, bits: int, interlaced: bool = False) -> bytes:
  """Pillow writes neither 16 bits of colour nor interlacing."""
  passes = [(0, 0, 1, 1)]
  if interlaced:
    passes = [
      (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
      (0, 1, 2, 2), (1, 0, 2, 1),
    ]  # fmt: skip
  rows = b"".join(
    b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes()
    for y, x, down, right in passes
    for row in pixels[y::down, x::right]
  )
  height, width = pixels.shape[:2]
  head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
  return png_of((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data
    + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in chunks
  )  # fmt: skip


def tiff(tags: dict[int, int], data: bytes) -> bytes:
  """A little-endian TIFF of one strip."""
  tags = {**tags, 273: 8 + 2 + 12 * (len(tags) + 1) + 4}
  entries = (struct.pack("<HHII", t, 4, 1, tags[t]) for t in sorted(tags))
  head = b"II*\0" + struct.pack("<IH", 8, len(tags))
  return head + b"".join(entries) + bytes(4) + data


def _grey_tiff(pixels: np.ndarray, bits: int, photometric: int) -> bytes:
  height, width = pixels.shape
  if bits == 12:
    a, b = pixels[:, ::2].astype(int), pixels[:, 1::2].astype(int)
    data = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype("u1")
  else:
    data = pixels.astype("<u2")
  tags = {
    256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1,
    278: height, 279: data.nbytes,
  }  # fmt: skip
  return tiff(tags, data.tobytes())


def _jpegs() -> dict[str, bytes]:
  one = {"coding": 0xC2, "together": False}
  made = {
    f"Adobe {transform}, {len(factors)} components": coarse.jpeg(
      *_SMALL, factors, header=adobe(transform)
    )
    for transform in (0, 1, 2, 7)
    for factors in (_420 if transform == 1 else _444, b"\x11" * 4)
  }
  made |= {
    "JFIF 2": coarse.jpeg(*_SMALL, _420, header=jfif(2)),
    "no coefficients in the scan": coarse.jpeg(*_SMALL, _420).replace(
      b"\0\x3f\0", b"\0\0\0", 1
    ),
    "names R, G, B": coarse.jpeg(*_SMALL, _444, names=b"RGB"),
    "names 0, 1, 2": coarse.jpeg(*_SMALL, _420, names=b"\0\1\2"),
    "grey, sampled 4×4": coarse.jpeg(*_SMALL, b"\x44"),
    "grey, sampled 2×1": coarse.jpeg(41, 57, b"\x21"),
    "a scan for each": coarse.jpeg(*_SMALL, _420, together=False, restart=2),
    "progressive, a scan for each": coarse.jpeg(*_SMALL, _420, **one),
    "progressive, one scan": coarse.jpeg(*_SMALL, _420, coding=0xC2),
    "CMYK 4:2:0 in scans": coarse.jpeg(*_SMALL, b"\x22\x11\x11\x22", together=False),
    "large sampling in scans": coarse.jpeg(*_SMALL, b"\x44\x22\x11", together=False),
    "restarts": coarse.jpeg(*_SMALL, b"\x21\x11\x11", restart=1),
    "two pixels": coarse.jpeg(2, 2, _420),
    "wide": coarse.jpeg(2, 3000, _420),
    "arithmetic coding": (CASES / "arithmetic.jpeg").read_bytes(),
    "arithmetic, progressive": (CASES / "arithmetic_progressive.jpeg").read_bytes(),
    "longest side": coarse.jpeg(2, 65_500, b"\x11"),
  }
  return made


def _turned() -> dict[str, tuple[bytes, np.ndarray]]:
  """All are turned upright by orientation 6."""
  plain, image = coarse.jpeg(*_SMALL, _420), picture(5)
  pixels, six = reference(plain), exif_of(">", 3, 6)
  note = app1(XMP + b"<tiff:Orientation>\n 6 </tiff:Orientation>")
  heads = {
    "EXIF behind others": coarse.segment(0xE2, b"ICC") + app1(b"other\0", six),
    "EXIF twice": app1(six, exif_of("<", 3, 3)),
    "EXIF before XMP": app1(XMP + b'<a tiff:Orientation="3"/>', six),
    "EXIF between fill bytes": b"\xff" * 7 + app1(six) + b"\xff" * 5,
    "XMP element": note,
    "extended XMP": app1(*more_xmp(_TURN.encode())),
  }
  made = {
    name: (coarse.jpeg(*_SMALL, _420, header=head), turned(pixels))
    for name, head in heads.items()
  }
  cmyk = coarse.jpeg(*_SMALL, b"\x11" * 4)
  for name, head in (("CMYK, XMP", note), ("CMYK, extended", heads["extended XMP"])):
    data = coarse.jpeg(*_SMALL, b"\x11" * 4, header=head)
    made[name] = data, turned(reference(cmyk))
  made["extended XMP of another photo"] = (
    coarse.jpeg(*_SMALL, _420, header=app1(*more_xmp(_TURN.encode(), b"B" * 32))),
    pixels,
  )
  tags = Image.Exif()
  tags[0x0112] = 6
  xmp = b"XML:com.adobe.xmp" + bytes(5) + _TURN.encode()
  shown = turned(np.asarray(image))
  made["PNG, XMP"] = _with_chunk(saved(image, "PNG"), b"iTXt", xmp), shown
  made["PNG, EXIF at the end"] = (
    _with_chunk(saved(image, "PNG"), b"eXIf", exif_of(">", 3, 6)[6:], last=True),
    shown,
  )
  for kind, how in (("WEBP", {"xmp": _TURN.encode()}), ("AVIF", {"exif": tags})):
    if kind == "AVIF" and not features.check("avif"):
      continue
    lying = reference(saved(image, kind, quality=90))
    made[f"{kind} turned"] = saved(image, kind, quality=90, **how), turned(lying)
  return made


def _with_chunk(data: bytes, kind: bytes, payload: bytes, last: bool = False) -> bytes:
  at = len(data) - 12 if last else 33
  chunk = png_of((kind, payload))[8:]
  return data[:at] + chunk + data[at:]


def _qoi(pixels: np.ndarray) -> bytes:
  height, width = pixels.shape[:2]
  coded = np.insert(pixels, 0, 0xFE, axis=2).tobytes()  # Red, green and blue follow.
  return b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + coded + bytes(7) + b"\1"


def _others() -> dict[str, tuple[bytes, np.ndarray]]:
  image = picture(6)
  pixels = np.asarray(image)
  ramp = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
  upper = np.stack([(ramp * 13 >> 8).astype(np.uint8)] * 3, -1)
  wide = pixels.astype(np.uint16) * 256 + 77
  few = image.quantize(16, dither=Image.Dither.NONE)
  made = {
    "PNG 16 bit colours": (png(wide, 2, 16), pixels),
    "PNG interlaced": (png(pixels, 2, 8, interlaced=True), pixels),
    "TIFF 12 bit": (
      _grey_tiff(ramp % 4096, 12, 1),
      np.stack([(ramp % 4096 >> 4).astype(np.uint8)] * 3, -1),
    ),
    "TIFF 16 bit, white is zero": (_grey_tiff(ramp * 13, 16, 0), 255 - upper),
    "GIF with a clear colour": (
      saved(few, "GIF", transparency=2), np.asarray(few.convert("RGB")),
    ),
    "QOI": (_qoi(pixels), pixels),
    "ICO": (saved(image.resize((32, 32)), "ICO"), np.asarray(image.resize((32, 32)))),
    "PPM": (saved(image, "PPM"), pixels),
    "TIFF pages": (
      saved(image, "TIFF", save_all=True, append_images=[picture(9)]), pixels,
    ),
  }  # fmt: skip
  for name, data in {
    "TIFF CMYK": saved(image.convert("CMYK"), "TIFF"),
    "TIFF LAB": saved(Image.merge("LAB", image.split()), "TIFF"),
    "TIFF of JPEG": saved(image, "TIFF", compression="jpeg"),
    "JPEG 2000 codestream": saved(image, "JPEG2000", no_jp2=True),
    "JPEG 2000 in tiles": saved(image, "JPEG2000", tile_size=(32, 32)),
  }.items():
    made[name] = data, reference(data)
  return made


RARE: dict[str, tuple[bytes, np.ndarray]] = {
  **{name: (data, reference(data)) for name, data in _jpegs().items()},
  **_turned(),
  **_others(),
}


def with_size(jpeg: bytes, height: int, width: int, coding: int = 0xC0) -> bytes:
  at = jpeg.index(bytes((0xFF, coding))) + 5
  return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def _jpeg_2000(precincts: bytes, layers: int = 1, tile: int = 4096) -> bytes:
  """A header of 4096×4096 grey pixels that asks for more than its bytes can hold."""
  size = struct.pack(">H8IH", 0, 4096, 4096, 0, 0, tile, tile, 0, 0, 1) + b"\7\1\1"
  coding = struct.pack(">BBHBBBBBB", 1, 0, layers, 0, len(precincts) - 1, 4, 4, 0, 0)
  return (
    b"\xff\x4f" + coarse.segment(0x51, size) + coarse.segment(0x52, coding + precincts)
    + coarse.segment(0x5C, b"\x40" * 4) + coarse.segment(0x90, bytes(7) + b"\1")
    + b"\xff\x93\xff\xd9"
  )  # fmt: skip


def _icon() -> bytes:
  head = png_of((b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0)))
  size = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(head), 22)
  return size + head


def _refused() -> dict[str, tuple[bytes, str, str]]:
  plain = coarse.jpeg(*_SMALL, _420)
  middle = plain.index(b"\0\x3f\0") + 40
  large = with_size(
    coarse.jpeg(8, 8, _444, coding=0xC2, more_scans=700), 4096, 4096, 0xC2
  )
  tile = tiff({256: 9, 257: 9, 258: 8, 259: 1, 262: 1, 277: 1, 322: 65504, 323: 65504},
              bytes(99))  # fmt: skip
  return {
    "wide PNG": (saved(Image.new("L", (65_535, 2)), "PNG"), "too large", "65535×2"),
    "high BMP": (saved(Image.new("L", (2, 65_535)), "BMP"), "too large", "2×65535"),
    "WebP of 100 bytes": (
      (CASES / "webp100.webp").read_bytes(), "too large", "11000×11900",
    ),
    "fuzz2": ((CASES / "fuzz2.bin").read_bytes(), "too large", "a side is longer"),
    "fuzz3": ((CASES / "fuzz3.bin").read_bytes(), "too large", "pixels are more"),
    "fuzz5": ((CASES / "fuzz5.bin").read_bytes(), "too large", "a side is longer"),
    "many scans": (large, "too large", "scans take too long"),
    "JPEG 2000, small precincts": (_jpeg_2000(b"\0"), "damaged", "packets are more"),
    "JPEG 2000, many layers": (_jpeg_2000(b"\xff", 65535), "damaged", "packets"),
    "JPEG 2000, small tiles": (_jpeg_2000(b"\xff", 1, 16), "damaged", "tiles are more"),
    "icon of 9000": (_icon(), "too large", "9000×9000"),
    "TIFF with large tiles": (tile, "too large", "tiles of 65504×65504"),
    "12 bits": (
      coarse.jpeg(*_SMALL, _444, coding=0xC1, precision=12), "unsupported", "12 bits",
    ),
    "lossless of 12 bits": (
      coarse.jpeg(*_SMALL, _444, coding=0xC3, precision=12), "unsupported", "lossless",
    ),
    "hierarchical": (
      coarse.jpeg(*_SMALL, _444, coding=0xC5), "unsupported", r"hierarchical .*SOF5",
    ),
    "arithmetic lossless": (
      coarse.jpeg(*_SMALL, _444, coding=0xCB), "unsupported", "SOF11",
    ),
    "two components": (coarse.jpeg(*_SMALL, b"\x11\x11"), "unsupported", "2 comp"),
    "ratio of 3:2": (
      coarse.jpeg(*_SMALL, b"\x31\x21\x11"), "unsupported", "3×1, 2×1, 1×1",
    ),
    "height behind the pixels": (with_size(plain, 0, 56), "unsupported", "DNL"),
    "no width": (with_size(plain, 40, 0), "damaged", "width is 0"),
    "damaged pixels": (
      plain[:middle] + b"\xff\xd5" * 9 + plain[middle + 18 :], "damaged", "Corrupt",
    ),
    "damage in rare sampling": (
      (lambda d: d[: len(d) // 2] + d[len(d) // 2 + 20 :])(
        coarse.jpeg(*_SMALL, b"\x11" * 4)
      ),
      "damaged", "Corrupt",
    ),
    "stray bytes in the header": (plain[:30] + b"stray" + plain[30:], "damaged", ""),
    "damage behind a harmless warning": (
      coarse.jpeg(*_SMALL, _420, header=jfif(2))[:-30] + b"\xff\xd9",
      "damaged", "Corrupt",
    ),
    "two frames": (
      plain[:2] + coarse.frame(40, 56, _420, 0xC0, b"\1\2\3") + plain[2:],
      "damaged", "",
    ),
    "cut": (plain[:-2], "truncated", "Premature end"),
    "no bytes": (b"", "empty", "no bytes"),
    "zeros": (bytes(99), "zero bytes", "nothing but zero"),
    "text": (b"I am a text.", "not an image", "I am"),
    "a number of 32 bits": (
      saved(Image.fromarray(np.ones((4, 4), np.int32)), "TIFF"),
      "damaged", "how bright",
    ),
  }  # fmt: skip


# Picture, heading, and words of the reason.
REFUSED = _refused()

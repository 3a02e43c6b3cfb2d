"""One photo of every kind, and the pixels that every verb should see in it."""

import io
import struct
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, features

NONE = Image.Dither.NONE
CASES = Path(__file__).parent / "cases"
HEIGHT, WIDTH = 60, 80
XMP = b"http://ns.adobe.com/xap/1.0/\0"
# Bound of the mean difference, of 255, where packing encodes anew: 4.6 for the hard
# edges of a palette, less than 3 for anything else; another turn gives 40 or more.
REPAIRED = 5.0


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
  """A smooth picture that no turn or mirroring leaves as it is."""
  coarse = np.random.default_rng(seed).integers(30, 220, (4, 5, 3), np.uint8)
  coarse[0, 0], coarse[-1, -1] = (255, 0, 0), (0, 0, 255)
  return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def reference(data: bytes) -> np.ndarray:
  """Upright RGB pixels by Pillow alone, written down without the project's code."""
  with Image.open(io.BytesIO(data)) as image:
    is_16_bit = image.mode.startswith("I")
    upright = ImageOps.exif_transpose(image)
    if is_16_bit:
      grey = (np.asarray(upright).astype(np.int64) // 256).astype(np.uint8)
      return np.stack([grey] * 3, axis=-1)
    if "transparency" in upright.info:
      upright = upright.convert("RGBA")
    return np.asarray(upright.convert("RGB"))


def _turned(value: int) -> Image.Exif:
  exif = Image.Exif()
  exif[0x0112] = value
  return exif


def _segment(payload: bytes) -> bytes:
  return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


def _with_segments(jpeg: bytes, *payloads: bytes) -> bytes:
  return jpeg[:2] + b"".join(map(_segment, payloads)) + jpeg[2:]


def exif(order: str, kind: int, value: int) -> bytes:
  mark = b"II*\0" if order == "<" else b"MM\0*"
  data = struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0")
  entry = struct.pack(order + "HHI", 0x0112, kind, 1) + data
  return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def _jpegs() -> dict[str, bytes]:
  image = picture()
  pixels = np.asarray(image)
  made = {
    f"sampling {name}": simplejpeg.encode_jpeg(pixels, 92, colorsubsampling=name)
    for name in ("444", "422", "420", "440", "411")
  }
  grey = np.ascontiguousarray(pixels[..., :1])
  made["grey"] = simplejpeg.encode_jpeg(grey, 92, "GRAY", "Gray")
  made["progressive"] = saved(image, progressive=True)
  made["restarts"] = saved(image, restart_marker_rows=1)
  made["RGB, not YCbCr"] = saved(image, keep_rgb=True)
  made["CMYK"] = saved(image.convert("CMYK"))
  made["odd sizes"] = saved(picture(1, 59, 77))
  made["bytes behind the end"] = saved(image) + b"\0\1" * 5000
  made["fill bytes"] = saved(image)[:2] + b"\xff" * 99 + saved(image)[2:]
  made["MPO"] = saved(image, "MPO", save_all=True, append_images=[picture(2)])
  for value in range(1, 9):
    made[f"EXIF {value}"] = saved(image, exif=_turned(value))
  plain = saved(image, quality=90)
  for order, kind in (("<", 3), ("<", 4), (">", 3), (">", 4)):
    made[f"EXIF 8 {order}{kind}"] = _with_segments(plain, exif(order, kind, 8))
  made["EXIF 1, XMP 6"] = _with_segments(
    plain, exif(">", 3, 1), XMP + b'<a tiff:Orientation="6"/>'
  )
  made["EXIF 6 progressive"] = saved(image, exif=_turned(6), progressive=True)
  made["EXIF 6 grey"] = saved(image.convert("L"), exif=_turned(6))
  made["EXIF 6 CMYK"] = saved(image.convert("CMYK"), exif=_turned(6))
  for path in sorted(CASES.glob("*.jpg")):
    made[path.stem] = path.read_bytes()
  return made


def _others() -> dict[str, bytes]:
  image = picture(3)
  clear = image.convert("RGBA")
  clear.putalpha(image.convert("L"))
  ramp = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 13
  few = image.quantize(64, dither=NONE)
  frames = {"save_all": True, "append_images": [picture(4)]}
  made = {
    "PNG": saved(image, "PNG"),
    "PNG palette": saved(few, "PNG"),
    "PNG palette with a clear colour": saved(few, "PNG", transparency=3),
    "PNG of two colours": saved(image.convert("1", dither=NONE), "PNG"),
    "PNG grey with alpha": saved(clear.convert("LA"), "PNG"),
    "PNG alpha": saved(clear, "PNG"),
    "PNG 16 bit": saved(Image.fromarray(ramp), "PNG"),
    "PNG EXIF 6": saved(image, "PNG", exif=_turned(6)),
    "PNG animated": saved(image, "PNG", **frames),
    "GIF": saved(few, "GIF"),
    "GIF animated": saved(few, "GIF", **frames),
    "BMP": saved(image, "BMP"),
    "WebP": saved(image, "WEBP"),
    "WebP alpha": saved(clear, "WEBP", lossless=True),
    "WebP animated": saved(image, "WEBP", **frames),
    "WebP EXIF 6": saved(image, "WEBP", exif=_turned(6)),
    "TIFF": saved(image, "TIFF"),
    "TIFF LZW EXIF 6": saved(image, "TIFF", compression="tiff_lzw", exif=_turned(6)),
    "TIFF 16 bit": saved(Image.fromarray(ramp), "TIFF"),
    "PPM 16 bit": b"P5 2 2 65535\n" + struct.pack(">4H", 0, 256, 0x8000, 0xFFFF),
  }
  if features.check("avif"):
    made["AVIF"] = saved(image, "AVIF")
  if features.check("jpg_2000"):
    made["JPEG 2000"] = saved(image, "JPEG2000")
  return made


KINDS = {**_jpegs(), **_others()}
NAMES = tuple(KINDS)

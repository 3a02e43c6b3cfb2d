"""Forty and more kinds of bad file: each under its heading, and the good ones kept."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from im21k.packing import repair
from im21k.packing.pack import pack

FISH = "n01440764"


def saved(image, kind, **options) -> bytes:
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def case(name) -> bytes:
  folder = Path(__file__).parents[1] / "photos" / "cases"
  return (folder / f"{name}.jpg").read_bytes()


def png_head(width, height) -> bytes:
  """A PNG that claims to be of this size, with next to no pixels."""
  import zlib

  def chunk(kind, data):
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

  head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", head)
    + chunk(b"IDAT", zlib.compress(b"\0"))
    + chunk(b"IEND", b"")
  )


def corpus(picture, jpeg) -> dict[str, tuple[bytes, str]]:
  """Name: bytes and the heading that they belong under."""
  image, good = picture(1, 48, 64), jpeg(1, 48, 64)
  large = jpeg(2, 200, 300)
  damaged = bytearray(large)
  damaged[len(large) // 2 : len(large) // 2 + 100] = b"\xff\xd5" * 50
  bomb = bytearray(good)
  at = good.index(b"\xff\xc0")
  bomb[at + 5 : at + 9] = b"\xea\x60\xea\x60"
  exact = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20
  grey16 = Image.fromarray(exact)
  found = {
    "empty": (b"", "empty"),
    "one zero": (b"\0", "zero bytes"),
    "zeros": (bytes(5000), "zero bytes"),
    "text": (b"I am a text.", "not an image"),
    "html": (b"<html><body>404 Not Found</body></html>", "not an image"),
    "spaces": (b" " * 100, "not an image"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "not an image"),
    "zip": (b"PK\x03\x04" + bytes(40), "not an image"),
    "pdf": (b"%PDF-1.4 and so on", "not an image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "riff": (b"RIFF\x10\0\0\0WAVEfmt ", "not an image"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "not an image"),
    "psd": (b"8BPS\0\x01" + bytes(40), "not an image"),
    "ff": (b"\xff" * 300, "not an image"),
    "no start": (good[2:], "not an image"),
    "start only": (good[:3], "truncated"),
    "header only": (good[:300], "truncated"),
    "half": (large[: len(large) // 2], "truncated"),
    "no end": (large[:-2], "truncated"),
    "tail of zeros": (large[:-300] + bytes(300), "truncated"),
    "damaged inside": (bytes(damaged), "damaged"),
    "start and end": (b"\xff\xd8\xff\xd9", "damaged"),
    "bomb JPEG": (bytes(bomb), "too large"),
    "bomb PNG": (png_head(60_000, 60_000), "too large"),
    "1x1": (jpeg(3, 1, 1), "too small"),
    "1 wide": (jpeg(3, 40, 1), "too small"),
    "1 high": (jpeg(3, 1, 40), "too small"),
    "1x1 PNG": (saved(picture(3, 1, 1), "PNG"), "too small"),
    "PNG without pixels": (png_head(40, 40), "truncated"),
    "PNG cut": (saved(image, "PNG")[:900], "truncated"),
    "GIF cut": (saved(image, "GIF")[:800], "truncated"),
    "BMP cut": (saved(image, "BMP")[:900], "truncated"),
    "PNG": (saved(image, "PNG"), "PNG"),
    "PNG palette": (saved(image.convert("P"), "PNG"), "PNG"),
    "PNG bilevel": (saved(image.convert("1"), "PNG"), "PNG"),
    "PNG alpha": (saved(image.convert("RGBA"), "PNG"), "transparent"),
    "PNG 16-bit": (saved(grey16, "PNG"), "16-bit"),
    "GIF": (saved(image, "GIF"), "GIF"),
    "GIF of frames": (
      saved(image, "GIF", save_all=True, append_images=[picture(5, 48, 64)]),
      "animated",
    ),
    "BMP": (saved(image, "BMP"), "BMP"),
    "WebP": (saved(image, "WEBP"), "WebP"),
    "WebP lossless": (saved(picture(6), "WEBP", lossless=True), "WebP"),
    "TIFF": (saved(image, "TIFF"), "TIFF"),
    "CMYK": (saved(image.convert("CMYK"), "JPEG"), "CMYK"),
    "CMYK grey": (saved(picture(7).convert("L").convert("CMYK"), "JPEG"), "CMYK"),
    "grey": (jpeg(8, mode="L"), "grey"),
    "PPM": (saved(image, "PPM"), "other format"),
    "lossless": (case("lossless"), "lossless JPEG"),
    "2x1, 1x2, 1x1": (case("s21_12_11"), "unusual sampling"),
    "CMYK 4:2:0": (case("cmyk420"), "CMYK"),
    "orientation of XMP": (case("o6_xmp_only"), "EXIF orientation"),
    "orientation as LONG": (case("o6_long_mm"), "EXIF orientation"),
    "scale unknown": (
      saved(Image.fromarray(exact.astype(np.int32)), "TIFF"),
      "damaged",
    ),
    "grey large": (jpeg(8, 300, 400, mode="L"), "grey"),
  }
  for turn in range(2, 9):
    exif = Image.Exif()
    exif[0x0112] = turn
    found[f"turned {turn}"] = (saved(image, "JPEG", exif=exif), "EXIF orientation")
  return found


def test_every_kind_is_under_its_heading_and_the_good_ones_are_there(
  photos, picture, jpeg, tmp_path
):
  bad = corpus(picture, jpeg)
  assert len(bad) >= 40
  source = photos({FISH: 5})
  for name, (data, _) in bad.items():
    (source / FISH / f"{name}.JPEG").write_bytes(data)
  for how in ("direct", "external"):
    out = tmp_path / how
    result = pack(source, out, workers=1, shuffle=how)
    report = json.loads((out / "report.json").read_text())
    rejected = {
      line.split("\t")[0]: line.split("\t")[1]
      for line in (out / "rejected.tsv").read_text().splitlines()[1:]
    }
    expected: dict[str, int] = {}
    for name, (_, kind) in bad.items():
      expected[kind] = expected.get(kind, 0) + 1
      if repair.RULES[kind] == "reject":
        assert rejected.pop(f"{FISH}/{name}.JPEG") == kind, name
    assert not rejected
    for kind, count in expected.items():
      told = report["kinds"][kind]
      extra = {"PNG": 2, "GIF": 1}.get(kind, 0)  # that have another kind too
      assert told["count"] == count + extra == told["classes"][FISH], kind
    assert result["train"] == report["packed"] == report["train_classes"][FISH]
    assert result["train"] + result["rejected"] == 5 + len(bad)


@pytest.mark.parametrize("turn", range(1, 9))
def test_turned_photos_are_packed_upright(picture, turn):
  image = picture(1, 48, 64)
  exif = Image.Exif()
  exif[0x0112] = turn
  jpeg, kinds = repair.prepare(
    saved(image, "JPEG", exif=exif, quality=95), repair.Rules()
  )
  assert kinds == (("EXIF orientation",) if turn > 1 else ())
  # What Pillow makes of it.
  from PIL import ImageOps

  tagged = Image.open(io.BytesIO(saved(image, "JPEG", exif=exif, quality=95)))
  upright = np.asarray(ImageOps.exif_transpose(tagged)).astype(int)
  assert np.abs(simplejpeg.decode_jpeg(jpeg) - upright).mean() < 4


@pytest.mark.parametrize(
  ("size", "expected"),
  [((300, 400), (64, 85)), ((400, 300), (85, 64)), ((64, 90), None), ((40, 50), None)],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_photos_are_made_smaller_and_never_larger(jpeg, size, expected, mode):
  data = jpeg(4, *size, mode=mode)
  small, _ = repair.prepare(data, repair.Rules(resize=64))
  if expected is None:
    assert small == data
    return
  height, width, _, sampling = simplejpeg.decode_jpeg_header(small)
  assert (height, width) == expected
  assert sampling == ("Gray" if mode == "L" else "420")
  # Pillow's box filter over the whole photo is the truth.
  whole = Image.open(io.BytesIO(data)).convert("RGB")
  truth = np.asarray(whole.resize(expected[::-1], Image.Resampling.BOX)).astype(int)
  assert np.abs(simplejpeg.decode_jpeg(small) - truth).mean() < 4


@pytest.mark.parametrize("decode", [True, False])
def test_bytes_behind_the_end_stay(decode):
  data = case("motion_photo")
  assert repair.prepare(data, repair.Rules(decode=decode)) == (data, ())


@pytest.mark.parametrize("decode", [True, False])
def test_the_end_of_a_thumbnail_does_not_hide_that_the_photo_ends_early(jpeg, decode):
  whole = jpeg(1, 200, 300)
  exif = b"Exif\0\0" + jpeg(2)
  head = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
  data = whole[:2] + head + whole[2:]
  repair.prepare(data, repair.Rules(decode=decode))
  with pytest.raises(repair.Rejected, match="Premature end") as error:
    repair.prepare(data[:-50], repair.Rules(decode=decode))
  assert error.value.kind == "truncated"


def test_16_bits_keep_their_upper_half(picture):
  exact = np.full((16, 16), 0x80FF, np.uint16)
  jpeg, kinds = repair.prepare(saved(Image.fromarray(exact), "PNG"), repair.Rules())
  assert kinds == ("PNG", "16-bit")
  assert np.abs(simplejpeg.decode_jpeg(jpeg).astype(int) - 0x80).max() <= 1


def test_each_kind_has_a_bit():
  """Outcomes keep the kinds of a photo in 32 bits."""
  assert len(repair.KINDS) <= 32

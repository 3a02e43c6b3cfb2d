"""Which files outside class folders are taken for photos."""

import pytest

from im21k.photos import image_files

BEGINNINGS = {
  "JPEG": b"\xff\xd8\xff\xe0", "PNG": b"\x89PNG\r\n\x1a\n", "WebP": b"RIFF\0\0\0\0WEBP",
  "HEIC": b"\0\0\0\x18ftypheic", "AVIF": b"\0\0\0\x1cftypavif", "QOI": b"qoif\0\0\0\1",
  "JPEG XL": b"\xff\x0a\xfa\x1f", "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
}  # fmt: skip


@pytest.mark.parametrize("head", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_photo_is_known_by_its_first_bytes(tmp_path, head):
  assert image_files.may_be_photo("download", head)
  (tmp_path / "download").write_bytes(head)
  assert image_files.is_image(tmp_path / "download")


@pytest.mark.parametrize("name", ["a.HEIC", "a.jxl", "a.CR3", "a.zip", "a.jpeg"])
def test_a_photo_is_known_by_its_suffix(name):
  assert image_files.may_be_photo(name)


@pytest.mark.parametrize(
  ("name", "head"),
  [("README", b"# photos"), ("list.txt", b""), ("film.mp4", b"\0\0\0\x18ftypisom")],
)
def test_other_files_are_none(name, head):
  assert not image_files.may_be_photo(name, head)

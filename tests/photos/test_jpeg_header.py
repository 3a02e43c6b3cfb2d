"""The header of a JPEG says what it is; damage in it is no exception."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.photos import jpeg_header


def segment(marker, payload):
  return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


@pytest.mark.parametrize(
  ("options", "coding", "factors"),
  [
    ({}, jpeg_header.BASELINE, b"\x22\x11\x11"),
    ({"subsampling": 0}, jpeg_header.BASELINE, b"\x11\x11\x11"),
    ({"progressive": True}, jpeg_header.PROGRESSIVE, b"\x22\x11\x11"),
    ({"mode": "L"}, jpeg_header.BASELINE, b"\x11"),
    ({"mode": "CMYK"}, jpeg_header.BASELINE, b"\x11\x11\x11\x11"),
  ],
  ids=str,
)
def test_size_coding_and_sampling(jpeg, options, coding, factors):
  data = jpeg(0, 24, 32, **options)
  header = jpeg_header.read(data)
  assert (header.height, header.width, header.precision) == (24, 32, 8)
  assert (header.coding, header.factors) == (coding, factors)
  assert header.is_common == (len(factors) < 4)
  assert data[header.frame + 1] == coding and data[header.scan + 1] == 0xDA
  assert header.has_end(data)


def test_fill_bytes_and_markers_without_length_are_passed_over(jpeg):
  data = jpeg()
  filled = data[:2] + b"\xff\x01" + b"\xff" * 1000 + data[2:]
  header = jpeg_header.read(filled)
  assert (header.height, header.width) == (24, 32)
  assert header.frame == jpeg_header.read(data).frame + 1002


def test_two_frames_are_none(jpeg):
  data = jpeg()
  at = jpeg_header.read(data).frame
  length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
  header = jpeg_header.read(
    data[:at] + data[at : at + length] * 2 + data[at + length :]
  )
  assert not header.frame and not header.is_common


def test_the_end_of_a_thumbnail_is_not_that_of_the_photo(jpeg):
  whole = jpeg()
  data = whole[:2] + segment(0xE1, b"Exif\0\0" + jpeg(1)) + whole[2:-2]
  header = jpeg_header.read(data)
  assert b"\xff\xd9" in data and not header.has_end(data)
  assert header.has_end(data + b"\xff\xd9")
  assert header.has_end(data + b"\xff\xd9" + bytes(9000)), "bytes behind the end"


@given(data=st.data())
def test_damage_gives_a_header_too(jpeg, data):
  damaged = bytearray(jpeg())
  for _ in range(data.draw(st.integers(0, 5))):
    damaged[data.draw(st.integers(2, 200))] = data.draw(st.integers(0, 255))
  damaged = bytes(damaged[: data.draw(st.integers(2, len(damaged)))])
  header = jpeg_header.read(damaged)
  assert header.orientation == 1 or header.exif or header.xmp
  assert header.has_end(damaged) in (True, False)

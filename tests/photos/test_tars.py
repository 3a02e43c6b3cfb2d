"""Tars of every make give all their photos, and say what is lost."""

import gzip
import io
import tarfile

import pytest

from im21k import photos

TENCH = "n01440764"


def tar(names, format=tarfile.GNU_FORMAT):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w", format=format) as archive:
    for name in names:
      info = tarfile.TarInfo(name)
      info.size = len(name)
      archive.addfile(info, io.BytesIO(name.encode()))
  return file.getvalue()


def keys(path):
  return [photo.key for photo in photos.open(path)]


NAMES = [f"{TENCH}/{i}.jpg" for i in range(5)]
MORE = [f"{TENCH}/{i}.jpg" for i in range(5, 9)]


@pytest.mark.parametrize("zipped", [False, True])
def test_two_tars_one_behind_the_other(tmp_path, zipped):
  data = tar(NAMES) + tar(MORE)
  path = tmp_path / ("cat.tar.gz" if zipped else "cat.tar")
  path.write_bytes(gzip.compress(data) if zipped else data)
  assert keys(path) == NAMES + MORE
  assert [photo.data for photo in photos.open(path)] == [
    name.encode() for name in NAMES + MORE
  ]


@pytest.mark.parametrize("zipped", [False, True])
def test_what_follows_a_tar_and_is_none_is_reported(tmp_path, zipped):
  data = tar(NAMES) + b"something else" * 100
  path = tmp_path / ("x.tar.gz" if zipped else "x.tar")
  path.write_bytes(gzip.compress(data) if zipped else data)
  *good, bad = photos.open(path)
  assert [photo.key for photo in good] == NAMES
  assert bad.problem and bad.problem[0] == "damaged archive"


@pytest.mark.parametrize("padding", [0, 100, 512, 5000])
@pytest.mark.parametrize("zipped", [False, True])
def test_zeros_behind_a_tar_mean_nothing(tmp_path, zipped, padding):
  data = tar(NAMES).rstrip(b"\0")
  data += bytes(-len(data) % 512 + 1024 + padding)
  path = tmp_path / ("x.tar.gz" if zipped else "x.tar")
  path.write_bytes(gzip.compress(data) if zipped else data)
  assert keys(path) == NAMES


def test_a_sparse_member_takes_no_photo_with_it(tmp_path):
  """Old GNU format: four pieces in the header, 21 more in a block behind it."""
  info = tarfile.TarInfo("disk.img")
  info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
  header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
  header[482] = 1
  header[148:156] = b" " * 8
  header[148:156] = b"%06o\0 " % sum(header)
  path = tmp_path / "sparse.tar"
  path.write_bytes(bytes(header) + bytes(512) + b"x" * 512 + tar(NAMES))
  sparse, *rest = photos.open(path)
  assert sparse.problem and sparse.problem[0] == "link or device"
  assert [photo.key for photo in rest] == NAMES


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path, format):
  name = f"{TENCH}/{'deep/' * 60}a.jpg"
  path = tmp_path / "long.tar"
  path.write_bytes(tar([name], format))
  assert keys(path) == [name]


def test_damage_behind_inner_tars_is_reported_and_they_are_read(tmp_path):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w") as outer:
    for synset in (TENCH, "n01443537"):
      data = tar([f"{synset}_1.jpg"])
      info = tarfile.TarInfo(f"{synset}.tar")
      info.size = len(data)
      outer.addfile(info, io.BytesIO(data))
  path = tmp_path / "whole.tar"
  path.write_bytes(file.getvalue() + b"something else" * 100)
  *good, bad = photos.open(path)
  assert [photo.synset for photo in good] == [TENCH, "n01443537"]
  assert bad.problem and bad.problem[0] == "damaged archive"

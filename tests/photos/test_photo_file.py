"""A file is read whole, or is an error that says what it is; nothing waits."""

import os
import socket
from pathlib import Path

import pytest

from im21k import photos
from im21k.photos import photo_file

TENCH = "n01440764"


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_file_is_read_whole_even_if_a_read_ends_early(tmp_path, monkeypatch, size):
  data = os.urandom(size)
  (tmp_path / "a").write_bytes(data)
  assert photo_file.read(str(tmp_path / "a")) == data
  read = os.read
  monkeypatch.setattr(
    photo_file.os, "read", lambda file, count: read(file, min(count, 9999))
  )
  assert photo_file.read(os.fsencode(tmp_path / "a")) == data


@pytest.fixture
def strange(tmp_path):
  """A folder of what is no photo."""
  folder = tmp_path / TENCH
  folder.mkdir()
  os.mkfifo(folder / "pipe.jpg")
  with socket.socket(socket.AF_UNIX) as unix:
    unix.bind(str(folder / "socket.jpg"))
  (folder / "device.jpg").symlink_to("/dev/zero")
  with (folder / "sparse.jpg").open("wb") as file:
    file.truncate(20 << 30)
  (folder / "loop.jpg").symlink_to("loop.jpg")
  (folder / "nowhere.jpg").symlink_to("nowhere")
  (folder / "folder.jpg").symlink_to("/")
  (folder / "named.jpg").mkdir()
  (folder / "named.jpg" / "inside.jpg").write_bytes(b"x")
  return tmp_path


def test_what_is_no_photo_is_a_row_each(strange):
  found = {photo.key: photo for photo in photos.open(strange)}
  assert found.pop(f"{TENCH}/named.jpg/inside.jpg").data == b"x"
  assert {key.partition("/")[2]: photo.problem for key, photo in found.items()} == {
    "device.jpg": ("link or device", "a device, not a file"),
    "folder.jpg": ("unreadable", "Is a directory"),
    "loop.jpg": ("unreadable", "Too many levels of symbolic links"),
    "nowhere.jpg": ("unreadable", "No such file or directory"),
    "pipe.jpg": ("link or device", "a pipe, not a file"),
    "socket.jpg": ("link or device", "a socket or a device, not a file"),
    "sparse.jpg": (
      "too large",
      "21,474,836,480 bytes, of which 268,435,456 are allowed",
    ),
  }


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written to"])
def test_a_file_that_changes_is_told(tmp_path, monkeypatch, change):
  path = tmp_path / "a"
  path.write_bytes(b"x" * 1000)
  os.utime(path, (0, 0))
  read = os.read

  def read_and_change(file, count):
    data = read(file, count // 2)
    sizes = {"grows": 2000, "shrinks": 600, "is written to": 1000}
    path.write_bytes(b"y" * sizes[change])
    return data

  monkeypatch.setattr(photo_file.os, "read", read_and_change)
  with pytest.raises(photo_file.Unusable, match="changed while it was read"):
    photo_file.read(str(path))


def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path, monkeypatch):
  (tmp_path / TENCH / "locked").mkdir(parents=True)
  (tmp_path / TENCH / "a.jpg").write_bytes(b"x")
  scandir = os.scandir

  def refuse(path):
    if str(path).endswith("locked"):
      raise PermissionError(13, "Permission denied")
    return scandir(path)

  monkeypatch.setattr(os, "scandir", refuse)
  good, bad = photos.open(tmp_path)
  assert good.data == b"x"
  assert bad.key == f"{TENCH}/locked" and bad.problem is not None


def test_folders_are_nested_deeper_than_calls(tmp_path):
  folder = os.path.join(tmp_path, TENCH)
  for _ in range(1500):
    os.mkdir(folder)
    folder += "/d"
  Path(folder).write_bytes(b"x")
  (photo,) = photos.open(tmp_path)
  assert photo.data == b"x"
  # Such folders are too deep for pytest, too, which removes the others.
  os.remove(folder)
  for _ in range(1500):
    folder = os.path.dirname(folder)
    os.rmdir(folder)

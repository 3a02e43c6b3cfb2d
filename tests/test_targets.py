"""Paths to write: what cannot be written, or is read, is refused at once."""

import os

import pytest

from im21k import targets


@pytest.fixture
def here(tmp_path, monkeypatch):
  """A folder with a file, a folder, a link to the file and one that leads nowhere."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "file").write_text("text")
  (tmp_path / "folder").mkdir()
  (tmp_path / "folder" / "inside").write_text("text")
  (tmp_path / "link").symlink_to("file")
  (tmp_path / "nowhere").symlink_to("missing")
  return tmp_path


@pytest.mark.parametrize("path", ["new", "folder/new", "new/new", "nowhere", "file"])
def test_what_can_be_written_passes(here, path):
  targets.check([here / "folder"], plot=here / path, report=None)
  assert sorted(os.listdir(here)) == ["file", "folder", "link", "nowhere"]


def test_devices_pass(here):
  targets.check([], plot=here.__class__("/dev/null"))


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("folder", "plot is folder, which is a folder: name a file"),
    ("file/new", "plot is file/new, but /.*/file is not a folder"),
    ("folder/inside/a/b", "but /.*/folder/inside is not a folder"),
    ("folder/inside", "plot is folder/inside, which would overwrite a file that is r"),
    ("link", "plot is link, which would overwrite a file that is read"),
  ],
)
def test_what_cannot_is_named(here, path, message):
  folder = here.__class__
  with pytest.raises(ValueError, match=message):
    targets.check([folder("folder"), folder("file")], plot=folder(path))


def test_two_names_of_one_file(here):
  file, link = here / "file", here / "link"
  with pytest.raises(ValueError, match=r"class_csv and csv_file are the same file"):
    targets.check([], csv_file=file, class_csv=link)


def test_a_folder_that_is_read_is_not_filled(here):
  targets.check_folder([here / "folder"], out=here / "other")
  targets.check_folder([here], out=here / "folder")
  with pytest.raises(ValueError, match=r"out is .*folder, which is read"):
    targets.check_folder([here / "folder"], out=here / "folder")
  with pytest.raises(ValueError, match=r"out is .*file, which is not a folder"):
    targets.check_folder([], out=here / "file")
  with pytest.raises(ValueError, match=r"out is .*new, but .*file is not a folder"):
    targets.check_folder([], out=here / "file" / "new")

"""Class folders become a stream of entries, in one order, and nothing else does."""

import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from im21k.photos import folders
from im21k.photos.photo import Entry


def entries(root):
  return [e for folder in folders.class_folders(root) for e in folder.entries()]


def listed(root):
  return [entry.key for entry in entries(root)]


def lay(root, *paths):
  """Empty files, in the order given."""
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()


def test_an_entry_has_key_synset_and_file(tmp_path):
  lay(tmp_path, "n01440764/a.jpg")
  assert entries(tmp_path) == [
    Entry("n01440764/a.jpg", "n01440764", f"{tmp_path}/n01440764/a.jpg")
  ]


def test_folders_inside_synset_folders_are_searched(tmp_path):
  lay(tmp_path, "n01440764/b/c/deep.jpg", "n01440764/b/x.jpg", "n01440764/a.jpg")
  found = entries(tmp_path)
  assert [entry.key for entry in found] == [
    "n01440764/a.jpg",
    "n01440764/b/c/deep.jpg",
    "n01440764/b/x.jpg",
  ]
  assert {entry.synset for entry in found} == {"n01440764"}


def test_names_beginning_with_a_dot_are_left_out(tmp_path):
  lay(
    tmp_path,
    ".cache/x.jpg",
    ".DS_Store",
    "n01440764/.hidden.jpg",
    "n01440764/.thumbnails/x.jpg",
    "n01440764/shown.jpg",
  )
  assert listed(tmp_path) == ["n01440764/shown.jpg"]


def test_files_beside_the_synset_folders_are_ignored(tmp_path):
  lay(tmp_path, "CREDITS.tsv", "n01440764", "n01443537/a.jpg")
  assert listed(tmp_path) == ["n01443537/a.jpg"]


def test_order_is_that_of_names_whatever_the_disk_says(tmp_path, monkeypatch):
  names = [f"n{i:08d}/{j}.jpg" for i in (3, 20, 100) for j in "BCa"]
  lay(tmp_path, *random.Random(0).sample(names, len(names)))
  assert listed(tmp_path) == names
  backwards = SimpleNamespace(
    scandir=lambda path: list(os.scandir(path))[::-1], path=os.path
  )
  monkeypatch.setattr(folders, "os", backwards)
  assert listed(tmp_path) == names


def test_every_file_is_listed_whatever_its_name_says(tmp_path):
  lay(tmp_path, "n01440764/a.jpg", "n01440764/b.txt", "n01440764/c")
  assert len(listed(tmp_path)) == 3, "pack looks at the bytes and reports what is none"


def test_a_linked_synset_folder_is_followed_but_no_link_below_it(tmp_path):
  lay(tmp_path, "elsewhere/a.jpg", "root/n01443537/b.jpg")
  (tmp_path / "root" / "n01440764").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "root" / "n01443537" / "loop").symlink_to(tmp_path / "root")
  assert listed(tmp_path / "root") == [
    "n01440764/a.jpg",
    "n01443537/b.jpg",
    "n01443537/loop",
  ]


def test_a_name_that_is_not_utf_8_leads_back_to_its_file(tmp_path):
  (tmp_path / "n01440764").mkdir()
  path = tmp_path / "n01440764" / "caf\udce9.jpg"
  path.write_bytes(b"x")
  (entry,) = entries(tmp_path)
  assert entry.key == "n01440764/caf\udce9.jpg"
  assert Path(entry.path).read_bytes() == b"x"


def test_an_empty_folder_is_refused(tmp_path):
  with pytest.raises(ValueError, match=f"{tmp_path} contains no photos: .*n01440764"):
    listed(tmp_path)


def test_a_folder_of_files_alone_is_refused(tmp_path):
  lay(tmp_path, "a.jpg", "b.jpg")
  with pytest.raises(ValueError, match=r"neither class folders named by synset ids"):
    listed(tmp_path)


@pytest.mark.parametrize(
  "name", ["cats", "n123", "n014407640", "N01440764", "n٠١٢٣٤٥٦٧"]
)
def test_a_folder_that_is_no_synset_is_named(tmp_path, name):
  lay(tmp_path, "n01440764/a.jpg", f"{name}/a.jpg")
  message = f"{tmp_path}: '{name}' is a folder not named by a synset id.*like n01440764"
  with pytest.raises(ValueError, match=message):
    listed(tmp_path)


def test_of_many_strange_folders_three_are_named(tmp_path):
  lay(tmp_path, "n01440764/a.jpg", *(f"{name}/x.jpg" for name in "ABCDE"))
  with pytest.raises(ValueError, match=r"'A', 'B', 'C' … are folders not named by"):
    listed(tmp_path)


def test_folders_of_any_names_are_classes_where_none_is_a_synset(tmp_path):
  lay(tmp_path, "my dog/a.jpg", "cafe\u0301/deep/b.jpg", "cats /c.jpg", "n123/d.jpg")
  found = {entry.key: entry.synset for entry in entries(tmp_path)}
  assert found == {
    "my dog/a.jpg": "my dog",
    "cafe\u0301/deep/b.jpg": "caf\u00e9",  # As ids have it; the key leads to the file.
    "cats /c.jpg": "cats",
    "n123/d.jpg": "n123",
  }
  assert all(Path(entry.path).exists() for entry in entries(tmp_path))


@pytest.mark.parametrize(
  "allowed", [{"classes": ("n01440764", "cats")}, {"mixed": True}]
)
def test_other_folders_beside_synsets_where_the_list_or_the_caller_allows_it(
  tmp_path, allowed
):
  lay(tmp_path, "n01440764/a.jpg", "cats/a.jpg")
  found = folders.class_folders(tmp_path, **allowed)
  assert [folder.synset for folder in found] == ["cats", "n01440764"]


def test_own_folders_without_any_file_hold_no_photos(tmp_path):
  (tmp_path / "cats" / "deep").mkdir(parents=True)
  with pytest.raises(ValueError, match="contains no photos"):
    folders.class_folders(tmp_path)


@pytest.mark.parametrize("kind", ["file", "missing"])
def test_what_is_no_folder_is_refused(tmp_path, kind):
  lay(tmp_path, "file")
  with pytest.raises(NotADirectoryError, match=f"{tmp_path / kind} is not a folder"):
    listed(tmp_path / kind)


def test_one_folder_of_photos(tmp_path, jpeg):
  lay(tmp_path, "b.PNG", "notes.txt", ".hidden.jpg", "n01440764_7.JPEG")
  (tmp_path / "a.jpg").write_bytes(jpeg())
  names = folders.photo_names(tmp_path)
  assert names == ("a.jpg", "b.PNG", "n01440764_7.JPEG")
  folder = folders.numbered(tmp_path, names, None)
  assert [e.synset for e in folder.entries()] == ["", "", "n01440764"]
  assert folder.count == 3
  assert next(folder.photos()).data == jpeg()


def test_a_folder_of_folders_is_not_one_of_photos(tmp_path):
  lay(tmp_path, "a.jpg", "n01440764/a.jpg")
  assert folders.photo_names(tmp_path) == ()


def test_a_file_that_cannot_be_read_is_a_photo_with_a_problem(tmp_path):
  lay(tmp_path, "n01440764/a.jpg")
  (tmp_path / "n01440764" / "b.jpg").symlink_to("nowhere")
  (folder,) = folders.class_folders(tmp_path)
  photos = list(folder.photos())
  assert [photo.problem for photo in photos] == [
    None,
    ("unreadable", "No such file or directory"),
  ]
  assert [photo.data for photo in photos] == [b"", b""]

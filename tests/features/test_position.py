"""The rest of a source, wherever it was left."""

import tarfile

import pytest

from im21k import photos
from im21k.features.part_files import Place
from im21k.features.position import Rest
from im21k.packing.pack import pack

COUNTS = {"n01443537": 3, "n02121620": 1, "n03481172": 4}


def as_classes(folder, path):
  return folder


def as_tar(folder, path):
  with tarfile.open(path := path.with_suffix(".tar"), "w") as file:
    file.add(folder, ".")
  return path


def as_packed(folder, path):
  pack(folder, path, eval_per_class=1, shards=2, workers=1)
  return path


@pytest.mark.parametrize("make", [as_classes, as_tar, as_packed])
def test_the_rest_behind_any_photo_is_what_follows_it(photos, tmp_path, make):
  source = sources(make(photos(COUNTS), tmp_path / "place"))
  keys = [photo.key for photo in source]
  assert len(keys) == 8
  for read in range(1, 9):
    whole = Rest(source)
    # Threads read ahead of what has been computed.
    assert [photo.key for photo in whole.photos()] == keys
    place = whole.place(read, keys[read - 1])
    rest = Rest(source, place, read)
    assert [photo.key for photo in rest.photos()] == keys[read:]
    assert rest.count in (8 - read, None)
    for more in range(read + 1, 9):  # Places behind a place are the same.
      assert rest.place(more - read, keys[more - 1]) == whole.place(
        more, keys[more - 1]
      )


sources = photos.open


def test_photos_that_have_changed_are_refused(photos):
  source = sources(photos(COUNTS))
  for place in (Place(0, 2, "x"), Place(1, 2, "n02121620/x"), Place(3, 1, "x")):
    with pytest.raises(ValueError, match="the photos have changed: photo"):
      list(Rest(source, place, 2).photos())

"""The picture of predictions: of a sane size, and legible whatever the names."""

import numpy as np
import pytest
from PIL import Image

from im21k import synsets
from im21k.pages import figures

NAMES = sorted(synsets.imagenet21k().names, key=len)
PHOTO = np.full((60, 80, 3), 200, np.uint8)


def picture(path, names, photos=1):
  """The pixels of a picture of photos with these answers each."""
  top = [
    {"synset": "n01443537", "name": name, "probability": 0.5 / (i + 1)}
    for i, name in enumerate(names)
  ]
  figures.draw_predictions(path, [PHOTO] * photos, [top] * photos)
  with Image.open(path) as image:
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def test_longest_names_leave_photo_and_shares_as_they_are(tmp_path):
  short = picture(tmp_path / "short.png", NAMES[:5])
  long = picture(tmp_path / "long.png", NAMES[-5:])
  assert short.shape == long.shape == (264, 990, 3)
  differ = (short != long).any((0, 2)).nonzero()[0]
  assert differ.min() > 320 and differ.max() < 930
  # Shares are written right of that.
  assert (short[:, 930:] < 128).any()


@pytest.mark.parametrize(
  ("classes", "photos", "size"),
  [(1, 1, (264, 990)), (5, 2, (528, 990)), (20, 1, (660, 990)), (300, 1, (660, 990))],
)
def test_size_follows_photos_and_classes_up_to_twenty(tmp_path, classes, photos, size):
  found = picture(tmp_path / "a.png", NAMES[:classes], photos)
  assert found.shape == (*size, 3)


def test_as_many_photos_as_there_is_room_for_can_be_drawn():
  assert figures.MOST_PHOTOS * 660 < 2**16  # the most that matplotlib draws


def test_name_with_signs_of_formulas_is_no_formula(tmp_path):
  assert picture(tmp_path / "a.png", ["$x_", "a$b$c", "\\frac"]).any()


@pytest.mark.parametrize(
  ("h", "w", "size"),
  [
    (60, 80, (60, 80)),
    (960, 480, (480, 240)),
    (10, 4800, (1, 480)),
    (481, 1, (480, 1)),
  ],
)
def test_thumbnail_shrinks_the_longer_side_to_480(h, w, size):
  photo = np.full((h, w, 3), 7, np.uint8)
  found = figures.thumbnail(photo)
  assert found.shape == (*size, 3)
  assert (found == 7).all()


def test_picture_replaces_an_older_one_whole(tmp_path):
  picture(tmp_path / "a.png", NAMES[:20])
  assert picture(tmp_path / "a.png", NAMES[:2]).shape == (264, 990, 3)
  assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

"""Paths say classes and keys by the same rules, in a folder and in an archive."""

import pytest

from im21k.photos import names

TENCH, FISH = "n01440764", "n01443537"


@pytest.mark.parametrize(
  ("name", "synset", "key"),
  [
    (f"{TENCH}/a.jpg", TENCH, f"{TENCH}/a.jpg"),
    (f"train/{TENCH}/a.jpg", TENCH, f"{TENCH}/a.jpg"),
    (f"./{TENCH}/b/c/a.jpg", TENCH, f"{TENCH}/b/c/a.jpg"),
    (f"{TENCH}_tench/a.jpg", TENCH, f"{TENCH}/a.jpg"),
    (f"{TENCH}_etc/{FISH}/a.jpg", FISH, f"{FISH}/a.jpg"),
    (f"{FISH}/{TENCH}_0.JPEG", FISH, f"{FISH}/{TENCH}_0.JPEG"),
    (f"{FISH}/{TENCH}/0.JPEG", FISH, f"{FISH}/{TENCH}/0.JPEG"),
    (f"{TENCH}_0.JPEG", TENCH, f"{TENCH}_0.JPEG"),
    (f"{TENCH}_{FISH}.JPEG", "", f"{TENCH}_{FISH}.JPEG"),
    (f"x/ILSVRC2012_val_00000001_{TENCH}.JPEG", TENCH,
     f"x/ILSVRC2012_val_00000001_{TENCH}.JPEG"),
    ("holiday/a.jpg", "", "holiday/a.jpg"),
    ("n014407641/a.jpg", "", "n014407641/a.jpg"),
    (f"x{TENCH}.jpg", "", f"x{TENCH}.jpg"),
    ("00000001.jpg", "", "00000001.jpg"),
  ],
)  # fmt: skip
def test_a_folder_decides_then_the_name(name, synset, key):
  assert names.locate(name) == (synset, key)


def test_numbers_count_in_a_list_where_there_is_no_folder():
  labels = (TENCH, FISH)
  assert names.locate("x_00000002.jpg", labels) == (FISH, "x_00000002.jpg")
  assert names.locate(f"{TENCH}/00000002.jpg", labels)[0] == TENCH
  assert names.locate("x_00000003.jpg", labels) == ("", "x_00000003.jpg")
  # As in ILSVRC2012's own archive: a snake.
  assert names.locate("ILSVRC2012_val_00000001.JPEG")[0] == "n01751748"


def test_the_key_in_an_archive_of_one_class():
  assert names.within(TENCH, "a.jpg") == f"{TENCH}/a.jpg"
  assert names.within(TENCH, f"./{TENCH}/b/a.jpg") == f"{TENCH}/b/a.jpg"
  assert names.within(TENCH, "b/a.jpg") == f"{TENCH}/b/a.jpg"
  assert names.within(TENCH, f"b/{TENCH}/a.jpg") == f"{TENCH}/b/{TENCH}/a.jpg"


@pytest.mark.parametrize("name", ["/a.jpg", "../a.jpg", "b/../../a.jpg", "a\0.jpg"])
def test_paths_that_leave_their_folder(name):
  assert names.leaves(name)
  assert not names.leaves("b/a..jpg")

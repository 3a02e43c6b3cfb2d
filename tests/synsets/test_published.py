"""Labels of validation photos in a file: every way to write lines, and what is none."""

import os

import pytest

from im21k import synsets

TENCH, FISH = "n01440764", "n01443537"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_validation_labels_may_come_from_any_editor(tmp_path, mark, end):
  path = tmp_path / "labels.txt"
  path.write_bytes((mark + end.join([TENCH, FISH, "", ""])).encode())
  assert synsets.validation_labels(path) == [TENCH, FISH]


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"n01440764\n490\n", r"labels\.txt line 2 is a number"),
    (b"n01440764\n\nn01443537", r"labels\.txt line 2: '' is no synset id"),
    (b"n01440764\n\xff", r"labels\.txt, line 2: not UTF-8 text"),
    (None, r"labels\.txt is not a regular file"),
  ],
)
def test_what_is_no_list_of_labels_is_named(tmp_path, data, message):
  path = tmp_path / "labels.txt"
  if data is None:
    os.mkfifo(path)  # Would be waited for.
  else:
    path.write_bytes(data)
  with pytest.raises(ValueError, match=message):
    synsets.validation_labels(path)


def test_a_file_of_gigabytes_is_no_class_list(tmp_path):
  with (tmp_path / "list.txt").open("wb") as file:
    file.truncate(4 << 30)
  with pytest.raises(ValueError, match=r"list\.txt has more than 16,777,216 bytes"):
    synsets.from_file(tmp_path / "list.txt")

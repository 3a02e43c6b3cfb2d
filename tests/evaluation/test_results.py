"""Rows of scores in a CSV file, and lines about photos that do not count."""

import pytest

from im21k.evaluation import results


def test_appended_rows_keep_those_before_and_their_columns(tmp_path):
  path = tmp_path / "new" / results.CSV
  assert results.read_rows(path) == []
  results.add_rows(path, [{"date": 1, "note": "a, b"}])
  results.add_rows(path, [{"date": 2, "top_1": 0.5, "loss": None}])
  assert path.read_text() == 'date,top_1,loss,note\n1,,,"a, b"\n2,0.5,,\n'
  assert results.read_rows(path) == [
    {"date": "1", "top_1": "", "loss": "", "note": "a, b"},
    {"date": "2", "top_1": "0.5", "loss": "", "note": ""},
  ]


def test_lines_name_five_photos_at_most():
  bad = results.as_rows([results.Bad(f"{i}.jpg", "empty") for i in range(6)])
  assert bad[0] == {"photo": "0.jpg", "reason": "empty"}
  classes, photos = results.lines_about({"n02121620": 1200}, bad, "left out")
  assert classes == (
    "1,200 photos of classes that the weights do not know, left out: n02121620 cat, "
    "true cat (1,200)"
  )
  assert photos.endswith("3.jpg (empty); 4.jpg (empty); …")
  assert results.lines_about({}, bad[:5], "")[0].endswith("4.jpg (empty)")
  assert results.lines_about({}, [], "") == []


def test_another_file_is_not_written_over(tmp_path):
  (tmp_path / "notes.txt").write_bytes(b"my notes \xff\n")
  with pytest.raises(ValueError, match=r"notes.txt is not a file of `im21k evaluate`"):
    results.add_rows(tmp_path / "notes.txt", [{"date": 1}])
  assert (tmp_path / "notes.txt").read_bytes() == b"my notes \xff\n"

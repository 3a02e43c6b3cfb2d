"""Rows of scores in a CSV file, and lines about photos that do not count."""

import os
from pathlib import Path

import pytest

from im21k.evaluation import results
from im21k.photos.photo import Loss


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


@pytest.mark.parametrize(
  ("path", "expected"),
  [
    ("packed", "packed"),
    ("/data/=1", "/data/=1"),
    ("=HYPERLINK(1)", "./=HYPERLINK(1)"),
    ("@a", "./@a"),
    ("-1+1", "./-1+1"),
    ("caf\udce9\n", r"caf\xe9\n"),
  ],
)
def test_a_path_is_no_formula_and_valid_utf8(path, expected):
  assert results.cell(Path(path)) == expected


def test_a_damaged_archive_is_a_failure_with_its_bytes():
  bad = [
    results.Bad("a.jpg", "truncated"),
    results.Bad("one.tar@512", "damaged header", Loss("one.tar", 1)),
    results.Bad("two.tar@0", "zeros", Loss("two.tar", 1024)),
    results.Bad("two.tar@4096", "zeros", Loss("two.tar", 512)),
  ]
  assert results.failed(bad) == {
    "failed": "not all could be read: 1 byte of one.tar; 1,536 bytes of two.tar "
    "damaged or missing"
  }
  assert results.failed(bad[:1]) == {}


def test_counts_in_a_line():
  counts = {"photos": 1, "scored": 0, "unknown": 0, "bad": 1}
  assert results.counts_line(counts) == (
    "1 photo: 0 scored, 0 of unknown classes, 1 unreadable or without class"
  )


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


HEAD = b"date,answers,images,top_1\n"


def test_a_file_saved_by_a_spreadsheet_is_read(tmp_path):
  path = tmp_path / "a.csv"
  path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace(b"\n", b"\r\n") + b'1,"a\nb",7,\r\n')
  (row,) = results.read_rows(path)
  assert row == {"date": "1", "answers": "a\nb", "images": "7", "top_1": ""}
  results.add_rows(path, [{"date": "2"}])
  assert results.read_rows(path)[0] == row


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (HEAD + b"1,all,7\n", "line 2: not a value for each column: mend or remove"),
    (HEAD + b"1,all,7,0.5,9\n", "line 2: not a value for each column"),
    (HEAD + b"1,all,7,nan\n", "line 2: top_1 is 'nan', not a number from 0 to 1"),
    (HEAD + b"1,all,7,1.5\n", "line 2: top_1 is '1.5'"),
    (HEAD + b"1,all,-7,0.5\n", "line 2: images is '-7'"),
    (HEAD + b"1,all,7,inf\n", "line 2: top_1 is 'inf'"),
    (HEAD + b'1,"all,7,0.5\n', "line 2: no CSV"),
    (HEAD + b"1," + b"x" * 200_000 + b",7,0.5\n", "line 2: no CSV"),
    (HEAD + b"1,caf\xe9,7,0.5\n", "is not UTF-8: save it as UTF-8"),
    (b"date,date\n1,2\n", "two columns have one name"),
    (b"\xff\xfed\x00", "is not a file of `im21k evaluate`"),
  ],
)
def test_what_could_not_be_kept_is_not_written_over(tmp_path, data, message):
  path = tmp_path / "a.csv"
  path.write_bytes(data)
  with pytest.raises(ValueError, match=rf"a\.csv.*{message}") as caught:
    results.add_rows(path, [{"date": 1}])
  assert str(caught.value).isprintable() and len(str(caught.value)) < 300
  assert path.read_bytes() == data


def test_a_pipe_is_not_read_before_it_is_written_to(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  assert results.read_rows(tmp_path / "pipe") == []


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.truncate(path, 2**34)])
def test_what_is_no_csv_is_not_read(tmp_path, make):
  path = tmp_path / "a.csv"
  if make is not os.mkdir:
    path.touch()
  make(path)
  with pytest.raises(ValueError, match=r"a\.csv is not a (regular file|file of)"):
    results.read_rows(path)

"""What people write where photos are meant: patterns, folders, lists."""

import io
import os
import shutil

import pytest

from im21k import synsets
from im21k.inference import places
from im21k.synsets import ClassList

CLASSES = ClassList("mine", ("my dog", "tom"))


@pytest.fixture
def here(tmp_path, monkeypatch, jpeg):
  """A folder with photos of odd names, which is the current one."""
  monkeypatch.chdir(tmp_path)
  names = [
    "a.jpg", "b.jpg", "a[1].jpg", "c*.jpg", "deep/d.jpg", "deep/er/e.jpg",
    "of [2020]/1.jpg", "of [2020]/2.jpg",
  ]  # fmt: skip
  for at, name in enumerate(names):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(at))
  return tmp_path


def named(*texts):
  return [str(path) for path in places.named(map(places.Path, texts))]


def found(*texts, classes=CLASSES):
  """Key and reason of each photo."""
  stream = places.Places(places.named(map(places.Path, texts)), classes)
  return [(p.key, p.problem[1] if p.problem else None) for p in stream.photos()]


@pytest.mark.parametrize(
  ("pattern", "matches"),
  [
    ("?.jpg", ["a.jpg", "b.jpg"]),
    ("*.jpg", ["a.jpg", "a[1].jpg", "b.jpg", "c*.jpg"]),
    ("[ab].jpg", ["a.jpg", "b.jpg"]),
    ("a[1].jpg", ["a[1].jpg"]),  # There is such a file, so it is no pattern.
    ("c*.jpg", ["c*.jpg"]),
    ("deep/**/*.jpg", ["deep/d.jpg", "deep/er/e.jpg"]),
    ("of [2020]/*.jpg", ["of [2020]/1.jpg", "of [2020]/2.jpg"]),
    ("*/1.jpg", ["of [2020]/1.jpg"]),
    ("none*.jpg", ["none*.jpg"]),
  ],
)
def test_a_pattern_is_what_matches_it_in_order(here, pattern, matches):
  assert named(pattern) == matches
  assert named(str(here / pattern)) == [str(here / match) for match in matches]


def test_the_order_is_that_of_writing_and_nothing_is_left_out(here):
  keys = found("b.jpg", "none*", "?.jpg", "b.jpg", "gone.jpg", "deep/er")
  assert [key for key, _ in keys] == [
    "b.jpg", "none*", "a.jpg", "b.jpg", "b.jpg", "gone.jpg", "deep/er/e.jpg"
  ]  # fmt: skip
  reasons = {key: reason for key, reason in keys if reason}
  assert reasons.pop("none*") == "nothing matches this pattern"
  assert reasons.pop("gone.jpg") == "does not exist" and not reasons


def test_what_holds_no_photos_is_a_row_with_the_reason(here):
  (here / "empty").mkdir()
  (here / "notes").write_text("text")
  os.mkfifo(here / "pipe.jpg")
  (here / "loop.jpg").symlink_to("loop.jpg")
  rows = dict(found("empty", "notes", "pipe.jpg", "loop.jpg", "x" * 300))
  assert "contains no photos" in rows.pop("empty")
  assert rows.pop("notes") == "is none of what photos can be"
  assert rows.pop("pipe.jpg") == "is a pipe, a socket or a device"
  assert rows.pop("loop.jpg")
  assert rows.pop("x" * 300) == "file name too long" and not rows
  (here / "deep" / "er" / "e.jpg").unlink()
  (here / "deep" / "d.jpg").unlink()
  assert found("deep") == [("deep", "it holds no photos")]


def test_a_folder_may_hold_folders_of_all_kinds(here):
  for name in ("n01440764", "my dog", "others"):
    (here / "all" / name).mkdir(parents=True)
    shutil.copy("a.jpg", here / "all" / name / "x.jpg")
  shutil.copy("b.jpg", here / "all")
  full = synsets.imagenet21k()
  for classes in (CLASSES, full):
    keys = found("all", classes=classes)
    assert sorted(keys) == [
      ("all/b.jpg", None), ("all/my dog/x.jpg", None), ("all/n01440764/x.jpg", None),
      ("all/others/x.jpg", None),
    ]  # fmt: skip


# Lists.


def listed(data):
  return [str(path) for path in places.listed(io.BytesIO(data))]


@pytest.mark.parametrize(
  ("data", "expected"),
  [
    (b"", []),
    (b"\n\n", []),
    (b"a.jpg", ["a.jpg"]),
    (b"a.jpg\nb c.jpg\n", ["a.jpg", "b c.jpg"]),
    (b"a.jpg\r\nb.jpg\r\n", ["a.jpg", "b.jpg"]),
    (b"\xef\xbb\xbfa.jpg\n", ["a.jpg"]),
    (b"caf\xe9.jpg\n", ["caf\udce9.jpg"]),
    (b" a.jpg \n", [" a.jpg "]),
    (b"a.jpg\0b\nc.jpg\0", ["a.jpg", "b\nc.jpg"]),
    (b"a.jpg\0b.jpg\n", ["a.jpg", "b.jpg"]),
    (b"BMW/1.jpg\nGIF89a/2.gif\n", ["BMW/1.jpg", "GIF89a/2.gif"]),
    (b"x.jpg\0" * 20_000, ["x.jpg"] * 20_000),
    (b"*.jpg\n", ["*.jpg"]),
  ],
)
def test_a_list_has_a_path_a_line_or_before_each_nul(data, expected):
  assert listed(data) == expected


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1", "standard input is an image"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "standard input is an image"),
    (b"BM\x36\0\0\0\0\0\0\0\x36\0", "standard input is an image"),
    (b"x" * (1 << 16), "a line of more than 65,536 bytes"),
    (b"a\0" + b"x" * (1 << 18), "a path of more than 65,536 bytes"),
    ("a.jpg\n".encode("utf-16"), "is in UTF-16"),
  ],
)
def test_what_is_no_list_is_refused(data, message):
  with pytest.raises(ValueError, match=message):
    listed(data)


def test_each_path_is_there_before_the_next_is_written():
  read, write = os.pipe()
  with open(read, "rb") as stream, open(write, "wb", buffering=0) as pipe:
    paths = places.listed(stream)
    for name in ("a.jpg", "b.jpg"):
      pipe.write(f"{name}\n".encode())
      assert str(next(paths)) == name


def test_standard_input_is_read_in_its_turn(here, monkeypatch):
  (here / "list").write_text("b.jpg\n*.jpg\n")
  with open("list") as stream:
    monkeypatch.setattr("sys.stdin", stream)
    keys = found("deep/d.jpg", "-", "a.jpg", "-")
  assert [key for key, _ in keys] == ["deep/d.jpg", "b.jpg", "*.jpg", "a.jpg"]
  monkeypatch.setattr("sys.stdin", None)
  with pytest.raises(ValueError, match="standard input is closed"):
    found("-")

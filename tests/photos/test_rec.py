"""Photos of a .rec: keys never repeat, and damage costs only what it lies on."""

import struct
from pathlib import Path

import pytest

from im21k import photos
from im21k.packing.pack import pack
from im21k.photos.photo import Loss
from im21k.synsets import ClassList

TENCH, FISH = "n01440764", "n01443537"
CLASSES = ClassList("two", (FISH, TENCH))
CASES = Path(__file__).parent / "cases"


def record(label, number, image, labels=()):
  data = struct.pack("<IfQQ", len(labels), label, number, 0)
  data += struct.pack(f"<{len(labels)}f", *labels) + image
  return framed(data)


def framed(data):
  return struct.pack("<II", 0xCED7230A, len(data)) + data + bytes(-len(data) % 4)


def rec(path, rows):
  """A .rec of (label, id, image)."""
  path.write_bytes(b"".join(record(*row) for row in rows))
  return path


def opened(path):
  return photos.open(path, classes=CLASSES)


def keys(source):
  return [photo.key for photo in source]


def test_a_rec_whose_photos_have_no_numbers(tmp_path):
  path = rec(tmp_path / "a.rec", [(i % 2, 0, b"%d" % i) for i in range(4)])
  source = opened(path)
  assert keys(source) == [f"{FISH}/0", f"{TENCH}/1", f"{FISH}/2", f"{TENCH}/3"]
  assert source.count is None
  assert sorted(p.data for p in source.shuffled()) == [p.data for p in source]


def test_a_rec_with_numbers_keeps_them(tmp_path):
  path = rec(tmp_path / "a.REC", [(0, 7, b"a"), (0, 0, b"b")])
  assert keys(opened(path)) == [f"{FISH}/7", f"{FISH}/0"]


def test_a_number_that_comes_again_gets_the_offset_of_its_record(tmp_path):
  numbers = [3, 2**40, 4, 3, 2**40, 3, 5, 2**64 - 1]
  path = rec(tmp_path / "a.rec", [(0, number, b"abcd") for number in numbers])
  assert keys(opened(path)) == [
    f"{FISH}/{name}"
    for name in ("3", 2**40, "4", "3@108", f"{2**40}@144", "3@180", "5", 2**64 - 1)
  ]
  assert keys(opened(path)) == [p.key for p in opened(path).streams[0].located()]


def test_eight_photos_that_all_have_the_number_0_are_packed(tmp_path):
  result = pack(
    CASES / "ids0.rec", tmp_path / "out", workers=1, classes=_list(tmp_path), shards=1
  )
  assert (result["train"], result["rejected"]) == (8, 0)
  assert keys(opened(CASES / "ids0.rec")) == [
    f"{(FISH, TENCH)[i % 2]}/{i}" for i in range(8)
  ]
  assert sorted(keys(photos.open(tmp_path / "out"))) == sorted(
    keys(opened(CASES / "ids0.rec"))
  )


def test_a_label_of_minus_one_is_a_row_with_its_offset(tmp_path):
  result = pack(
    CASES / "neg.rec", tmp_path / "out", workers=1, classes=_list(tmp_path), shards=1
  )
  assert (result["train"], result["rejected"]) == (7, 1)
  row = (tmp_path / "out" / "rejected.tsv").read_text().splitlines()[1].split("\t")
  assert row[:2] == ["neg.rec/3", "unreadable"]
  assert "neg.rec at byte 7696: label -1.0 is not among the 2 classes" in row[2]


def _list(folder):
  path = folder / "two.txt"
  path.write_text("\n".join(CLASSES.synsets))
  return path


@pytest.mark.parametrize("label", [-1, -0.5, 2, 0.5, 1e30, float("nan"), float("inf")])
def test_a_wrong_label_in_a_rec_is_one_photos_problem(tmp_path, label):
  path = rec(tmp_path / "a.rec", [(0, 1, b"a"), (label, 2, b"b"), (1, 3, b"c")])
  good, bad, other = opened(path)
  assert (good.synset, other.synset, bad.synset) == (FISH, TENCH, "")
  assert bad.problem and bad.problem[0] == "unreadable" and bad.loss is None
  assert f"{path} at byte 36: label" in bad.problem[1]


def test_labels_that_are_vectors(tmp_path):
  rows = [(9.0, 1, b"a", (1.0,)), (9.0, 2, b"b", (0.0, 1.0)), (0.0, 3, b"c")]
  one, two, none = opened(rec(tmp_path / "a.rec", rows))
  assert (one.synset, one.data, none.synset) == (TENCH, b"a", FISH)
  assert "at byte 40: 2 labels, but each photo is packed with one" in two.problem[1]


def test_short_records_are_photos_with_a_problem(tmp_path):
  path = tmp_path / "a.rec"
  many = framed(struct.pack("<IfQQ", 2**32 - 1, 0, 1, 0))
  good = record(0, 5, b"abc")
  path.write_bytes(framed(b"") + framed(b"x" * 23) + many + good)
  empty, short, endless, last = opened(path)
  assert "at byte 0: an image record of 0 bytes" in empty.problem[1]
  assert "at byte 8: an image record of 23 bytes" in short.problem[1]
  assert "at byte 40: 4294967295 labels do not fit" in endless.problem[1]
  assert (last.key, last.data) == (f"{FISH}/5", b"abc")


def test_damage_costs_a_record_and_is_counted_in_bytes(tmp_path):
  rows = [(i % 2, i + 1, b"%d" % i * 50) for i in range(6)]
  path = rec(tmp_path / "a.rec", rows)
  data = bytearray(path.read_bytes())
  size = len(data) // 6
  data[2 * size] ^= 1
  path.write_bytes(data[: 5 * size + 50])
  found = list(opened(path))
  assert [p.data for p in found if not p.problem] == [rows[i][2] for i in (0, 1, 3, 4)]
  magic, end = (p for p in found if p.problem)
  assert magic.problem == (
    "damaged archive",
    f"{path} at byte {2 * size}: there is no magic word where one begins; {size} bytes "
    "are lost",
  )
  assert magic.loss == Loss("a.rec", size)
  assert end.loss == Loss("a.rec", 50)
  assert "74 bytes are promised, but the file has 42 more" in end.problem[1]


def test_a_record_that_changed_since_is_unreadable(tmp_path):
  path = rec(tmp_path / "a.rec", [(0, 1, b"a" * 40), (0, 2, b"b" * 40)])
  first, second = opened(path).streams[0].located()
  rec(path, [(0, 1, b"a" * 41)])
  assert first.data == b"a" * 41
  assert second.data == b"" and "the file ends early" in second.problem[1]

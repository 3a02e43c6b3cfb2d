"""Photos that a text lists: each wrong line is a photo's problem, each file its own."""

from pathlib import Path

import pytest

from im21k import photos
from im21k.packing.pack import pack
from im21k.synsets import ClassList

TENCH, FISH = "n01440764", "n01443537"
CLASSES = ClassList("two", (FISH, TENCH))
CASES = Path(__file__).parent / "cases"


def write(path, text):
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def read(path):
  return [
    (p.key, p.synset) if not p.problem else p.problem
    for p in photos.open(path, classes=CLASSES)
  ]


@pytest.mark.parametrize("suffix", [".tsv", ".TSV"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_all_ways_to_write_lines_are_the_same_tsv(tmp_path, suffix, end, mark):
  lines = [f"a b.jpg\t{FISH}", "", f"ö.jpg\t{TENCH} ", f"x\ty.jpg\t{FISH}"]
  for name in ("a b.jpg", "ö.jpg", "x\ty.jpg"):
    write(tmp_path / name, name)
  path = write(tmp_path / f"a{suffix}", mark + end.join(lines))
  assert read(path) == [("a b.jpg", FISH), ("ö.jpg", TENCH), ("x\ty.jpg", FISH)]


@pytest.mark.parametrize("suffix", [".lst", ".LST"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_all_ways_to_write_lines_are_the_same_lst(tmp_path, suffix, end, mark):
  for name in ("a b.jpg", "ö.jpg"):
    write(tmp_path / name, name)
  lines = ["0\t0.000000\ta b.jpg", " ", "1\t1\tö.jpg"]
  path = write(tmp_path / f"a{suffix}", mark + end.join(lines))
  assert read(path) == [("a b.jpg", FISH), ("ö.jpg", TENCH)]


def test_a_name_that_is_not_utf_8_leads_to_its_file(tmp_path):
  (tmp_path / "\udcff.jpg").write_bytes(b"x")
  (photo,) = photos.open(write(tmp_path / "a.tsv", b"\xff.jpg\t" + FISH.encode()))
  assert photo.data == b"x"


@pytest.mark.parametrize(
  ("line", "kind", "reason"),
  [
    ("a.jpg", "unreadable", "should be path, tab and synset, but is 'a.jpg'"),
    ("a.jpg\tfish", "unreadable", "should be path, tab and synset"),
    (f"\t{FISH}", "unreadable", "should be path, tab and synset"),
    ("path\tsynset", "unreadable", "should be path, tab and synset"),
    (f"../a.jpg\t{FISH}", "refused path", "absolute, leaves its folder or holds a"),
    (f"/etc/passwd\t{FISH}", "refused path", "absolute, leaves its folder"),
    (f"a\0.jpg\t{FISH}", "refused path", "holds a zero byte"),
    ("x" * 70_000, "unreadable", "more than 65,536 characters"),
    ("x" * 300_000, "unreadable", "more than 65,536 characters"),
    ("x" * 5_000 + f"\t{FISH}", "unreadable", "a path of 5,000 characters"),
  ],
)
def test_a_wrong_line_of_a_tsv_is_a_row(tmp_path, line, kind, reason):
  text = f"a.jpg\t{FISH}\n{line}\nb.jpg\t{FISH}\n"
  for name in "ab":
    write(tmp_path / f"{name}.jpg", name)
  good, bad, other = read(write(tmp_path / "a.tsv", text))
  assert (good, other) == (("a.jpg", FISH), ("b.jpg", FISH))
  assert bad[0] == kind and bad[1].startswith(f"{tmp_path}/a.tsv line 2: ")
  assert reason in bad[1] and len(bad[1]) < 400


@pytest.mark.parametrize(
  ("labels", "reason"),
  [
    ("2", "label 2.0 is not among the 2 classes of the class list"),
    ("-1", "label -1.0 is not among"),
    ("0.5", "label 0.5 is not among"),
    ("inf", "['inf'], not finite"),
    ("nan", "['nan'], not finite"),
    ("1e999", "['1e999'], not finite"),
    ("cat", "['cat'], not numbers"),
    ("1_0", "['1_0'], not numbers"),
    ("", "[''], not numbers"),
    ("0\t1", "2 labels, but each photo is packed with one"),
  ],
)
def test_a_wrong_label_of_a_lst_is_a_row(tmp_path, labels, reason):
  for name in "abc":
    write(tmp_path / f"{name}.jpg", name)
  text = f"0\t0\ta.jpg\n1\t{labels}\tb.jpg\n2\t1\tc.jpg\n"
  good, bad, other = read(write(tmp_path / "a.lst", text))
  assert (good, other) == (("a.jpg", FISH), ("c.jpg", TENCH))
  assert bad[0] == "unreadable" and bad[1].startswith(f"{tmp_path}/a.lst line 2: ")
  assert reason in bad[1]


@pytest.mark.parametrize(
  ("name", "data", "message"),
  [
    (
      "a.tsv",
      b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9,
      r"a\.tsv line 1: should be",
    ),
    ("a.tsv", "a.jpg\n" * 20_000, "no other of the first 10,000 lines can be used"),
    ("a.lst", "0\t7\tx.jpg\n", r"line 1: label 7\.0 is not among the 2 classes"),
    ("a.tsv", f"a.jpg\t{FISH}".encode("utf-16"), "is text in UTF-16: save it in UTF-8"),
    ("a.tsv", b"x" * (65 << 20), r"a\.tsv line 1: more than 67,108,864 bytes"),
  ],
)
def test_what_is_no_list_at_all_is_one_error(tmp_path, name, data, message):
  path = write(tmp_path / name, data)
  with pytest.raises(ValueError, match=message) as error:
    read(path)
  assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_empty_list_has_no_photos(tmp_path):
  assert read(write(tmp_path / "a.tsv", "\n\r\n")) == []
  with pytest.raises(ValueError, match="has no photo to pack"):
    pack(tmp_path / "a.tsv", tmp_path / "out", workers=1)


def test_a_lst_needs_a_class_list(tmp_path):
  with pytest.raises(ValueError, match=r"a\.lst: its labels are numbers, so a class"):
    photos.open(write(tmp_path / "a.lst", "0\t7\tx.jpg\n"))


def test_a_list_with_a_byte_order_mark_has_all_its_photos():
  assert read(CASES / "bom.tsv") == [("unreadable", "No such file or directory")] * 5
  keys = [photo.key for photo in photos.open(CASES / "bom.tsv")]
  assert keys == [f"{TENCH}/{TENCH}_{i}.JPEG" for i in range(5)]


def test_paths_of_a_list_start_from_its_root(tmp_path):
  (tmp_path / "lists").mkdir()
  write(tmp_path / "x.jpg", b"x")
  path = write(tmp_path / "lists" / "a.tsv", f"x.jpg\t{FISH}\n")
  (photo,) = photos.open(path, root=tmp_path)
  assert photo.data == b"x"
  (photo,) = photos.open(path)
  assert photo.problem == ("unreadable", "No such file or directory")


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_packing_goes_on_and_counts_each_line(tmp_path, jpeg, shuffle):
  for i, name in enumerate(("a.jpg", "b.jpg")):
    write(tmp_path / name, jpeg(i))
  lines = (
    f"a.jpg\t{FISH}",
    "no tab",
    f"../a.jpg\t{FISH}",
    f"gone.jpg\t{FISH}",
    f"b.jpg\t{TENCH}",
    f"a.jpg\t{TENCH}",
  )
  path = write(tmp_path / "a.tsv", "\n".join(lines))
  out = tmp_path / "out"
  result = pack(path, out, workers=1, shuffle=shuffle, shards=1)
  assert (result["train"], result["rejected"]) == (2, 4)
  rows = [line.split("\t") for line in (out / "rejected.tsv").read_text().splitlines()]
  assert [row[:2] for row in rows[1:]] == [
    ["../a.jpg", "refused path"],
    ["a.jpg", "name comes twice"],
    ["a.tsv/2", "unreadable"],
    ["gone.jpg", "unreadable"],
  ]
  assert {(p.key, p.synset) for p in photos.open(out)} == {
    ("a.jpg", FISH), ("b.jpg", TENCH),
  }  # fmt: skip

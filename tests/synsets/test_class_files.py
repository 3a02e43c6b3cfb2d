"""Class lists in files: texts, CSVs, and what neither of them may hold."""

import re

import hypothesis
import hypothesis.strategies as st
import pytest

from im21k import synsets
from im21k.synsets import ClassList

DOG, CAT, TENCH, UNKNOWN = "n02084071", "n02121620", "n01440764", "n99999999"


def written(folder, text, name="mine.csv"):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_text_of_own_classes(tmp_path, end, mark):
  lines = ["# mine", "my dog", " cafe\u0301 ", "\u732b", "0", "a,b"]
  classes = synsets.from_file(written(tmp_path, mark + end.join(lines), "mine.txt"))
  assert classes.synsets == ("my dog", "caf\u00e9", "\u732b", "0", "a,b")
  assert classes.names == classes.own == classes.synsets
  assert (classes.name, classes.details, classes.is_plain) == ("mine", "", False)


@pytest.mark.parametrize("name", ["mine.csv", "mine.txt", "MINE.CSV"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_of_classes(tmp_path, name, end, mark):
  rows = [
    "ID, name,under",
    f'rex,"Rex, my dog",{DOG}',
    "",
    f"tom,,{CAT} ",
    f"{TENCH},,",
  ]
  classes = synsets.from_file(written(tmp_path, mark + end.join(rows), name))
  assert classes.synsets == ("rex", "tom", TENCH)
  assert classes.names == ("Rex, my dog", "tom", "tench, Tinca tinca")
  assert classes.under == (DOG, CAT, "")
  assert classes.own == ("rex", "tom")


def test_columns_in_any_order_and_some_of_them(tmp_path):
  assert synsets.from_file(written(tmp_path, f"under,id\n{DOG},rex\n")).under == (DOG,)
  assert synsets.from_file(written(tmp_path, "id\nrex\nn\n")).synsets == ("rex", "n")


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", r"mine\.csv, line 1: the header must be id,name,under, with commas"),
    ("name,under\nrex,\n", "line 1: the header must be id,name,under"),
    ("id;name;under\nrex;;\n", "line 1: the header .* but is 'id;name;under'"),
    ("id,name,name\na,b,c\n", "line 1: the header must be"),
    ("id,colour\na,b\n", "line 1: the header must be"),
    ("id,name\n", r"mine\.csv: holds no classes"),
    ("id,name\nrex\n", "line 2: 1 cells, but the header has 2"),
    ("id,name\nrex,a,b\n", "line 2: 3 cells, but the header has 2"),
    ('id,name\nrex,"a\n', r"mine\.csv, line \d: "),
    ("id,name\nrex,a\nrex,b\n", r"line 3: rex occurs already at .*mine\.csv, line 2"),
    ("id,name\ncaf\u00e9,a\ncafe\u0301,b\n", "line 3: caf\u00e9 occurs already"),
    ("id,name\n,a\n", "line 2: '' is an empty class id"),
    ("id,name\na\tb,a\n", "line 2: 'a.tb' has control characters"),
    ("id,name\na\u202eb,a\n", "line 2: .* that nobody sees"),
    ("id,name\na\u200bb,a\n", "line 2: .* that nobody sees"),
    ("id,name\na,b\x1b\n", "line 2: the name of a has control characters"),
    (f"id,name\na,{'b' * 201}\n", "line 2: the name of a has 201 characters"),
    ('id,name\n"a\nb",c\n', "line 3: 'a.nb' has control characters"),
    ("id,name\n../a,b\n", "line 2: '../a' has a path separator"),
    ("id,name\n..,b\n", "line 2: '..' begins with '.'"),
    ("id,name\na\\b,b\n", "line 2: .* has a path separator"),
    ("id,name\n#a,b\n", "line 2: '#a' begins with"),
    ("id,name\n-,b\n", "line 2: '-' begins with"),
    (
      f"id,name\n{'a' * 256},b\n",
      "line 2: 'a{80}' is a class id of more than 255 byte",
    ),
    ("id,name\nN01440764,b\n", "line 2: 'N01440764' is not a synset id"),
    ("id,name\nn01440764 tench,b\n", "line 2: .* leave n01440764 alone"),
    ("id,under\nrex,dog\n", "line 2: under is 'dog', not a synset id .*im21k synset"),
    (
      f"id,under\nrex,{UNKNOWN}\n",
      f"line 2: under is {UNKNOWN}, which WordNet 3.0 lac",
    ),
    (f"id,under\n{TENCH},{DOG}\n", f"line 2: {TENCH} has its place in WordNet"),
    (b"id,name\nrex,\xff\n", "line 2: not UTF-8"),
  ],
)
def test_a_bad_line_of_a_csv_is_named(tmp_path, text, message):
  with pytest.raises(ValueError, match=message) as caught:
    synsets.from_file(written(tmp_path, text))
  assert re.match(rf"{tmp_path}/mine\.csv\b", str(caught.value))
  assert "\n" not in str(caught.value)


def test_a_text_with_synsets_and_others_leads_to_the_csv(tmp_path):
  path = written(tmp_path, f"{TENCH}\ncats\n", "mine.txt")
  with pytest.raises(
    ValueError, match=r"line 2: 'cats' is not a synset id.*CSV with h"
  ):
    synsets.from_file(path)


letters = st.text("ab ,\"';\u00e9\u0301\u732b\u200d", min_size=1, max_size=6)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(data=st.data())
def test_what_is_written_is_read_back(tmp_path_factory, data):
  own = data.draw(st.lists(letters.map(synsets.normalized).filter(bool), unique=True))
  some = data.draw(st.lists(st.sampled_from((TENCH, UNKNOWN)), unique=True))
  ids = tuple(data.draw(st.permutations(own + some)))
  hypothesis.assume(ids)
  names = [data.draw(st.sampled_from(("", "a name, with comma"))) for _ in ids]
  under = [data.draw(st.sampled_from(("", DOG))) if i != TENCH else "" for i in ids]
  classes = ClassList("classes", ids, names, under)
  path = tmp_path_factory.getbasetemp() / "classes.txt"
  path.write_text(synsets.as_text(classes), encoding="utf-8", newline="")
  again = synsets.from_file(path)
  assert again == classes
  assert (again.hash, again.details) == (classes.hash, classes.details)


def test_lists_of_synsets_are_written_as_ever():
  assert synsets.as_text(ClassList("two", (TENCH, DOG))) == f"{TENCH}\n{DOG}\n"


def test_details_are_of_names_and_places_and_labels_of_ids_alone():
  bare = ClassList("a", ("rex", "tom"))
  named = ClassList("a", ("rex", "tom"), under=(DOG, CAT))
  assert bare.hash == named.hash and bare.fingerprint == bare.hash
  assert named.fingerprint == f"{named.hash}-{named.details}"
  other = ClassList("a", ("rex", "tom"), under=(CAT, CAT))
  assert other.details not in ("", named.details)
  assert ClassList("a", ("rex", "tom"), ("", ""), ("", "")) == bare


def test_a_folder_of_packed_photos_or_weights_is_its_list(tmp_path):
  folder = tmp_path / "packed"
  folder.mkdir()
  written(folder, "id,name,under\nrex,,\n", "classes.txt")
  assert synsets.get(folder) == ClassList("packed", ("rex",))

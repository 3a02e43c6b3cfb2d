"""Class lists: what a label means, and refusing to mix two meanings."""

import dataclasses
import hashlib
import importlib.machinery
import importlib.util
import pickle
import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from im21k import synsets
from im21k.synsets import ClassList, ClassListMismatch, published

REPOSITORY = Path(__file__).parents[2]
RELEASED = REPOSITORY / "data" / "inception_21k_synset.txt"
TENCH, GOLDFISH, SHARK, TEDDY = "n01440764", "n01443537", "n01484850", "n04399382"

needs_tfds = pytest.mark.skipif(
  importlib.util.find_spec("tensorflow_datasets") is None,
  reason="tensorflow-datasets is not installed",
)

synset_ids = st.integers(0, 99_999_999).map("n{:08d}".format)
synset_lists = st.lists(synset_ids, min_size=1, max_size=30, unique=True)


@pytest.fixture
def fish():
  return ClassList("fish", (TENCH, GOLDFISH, SHARK))


# The lists themselves.


def test_imagenet21k_is_the_21841_synsets_sorted_by_id():
  full = synsets.imagenet21k()
  assert full.name == "imagenet21k"
  assert len(full) == 21_841
  assert list(full.synsets) == sorted(full.synsets)
  assert TENCH in full.synsets
  assert TEDDY not in full.synsets


def test_the_released_models_list_is_imagenet21k_in_another_order():
  released = synsets.from_file(RELEASED)
  full = synsets.imagenet21k()
  assert released.name == "inception_21k_synset"
  assert released.synsets[:2] == ("n02094433", "n02086240")
  assert set(released.synsets) == set(full.synsets)
  assert released.hash != full.hash


def test_hashes_stay_as_they_are():
  """Shards and weights on disk carry these; a change would orphan them."""
  assert synsets.imagenet21k().hash == "6320b72b72e43c09"
  assert synsets.from_file(RELEASED).hash == "9be214938d344f3c"


@needs_tfds
def test_ilsvrc2012_is_1000_synsets_sorted_by_id():
  thousand = synsets.ilsvrc2012()
  assert thousand.name == "ilsvrc2012"
  assert len(thousand) == 1_000
  assert list(thousand.synsets) == sorted(thousand.synsets)
  assert thousand.synsets[:2] == (TENCH, GOLDFISH)
  assert thousand.hash == "385e0240499426c0"


@needs_tfds
def test_every_class_of_ilsvrc2012_has_a_name():
  thousand = synsets.ilsvrc2012()
  assert thousand.names[0] == "tench, Tinca tinca"
  assert thousand.names[thousand.index(TEDDY)] == "teddy, teddy bear"
  assert not set(thousand.names) & set(thousand.synsets)


@needs_tfds
def test_ilsvrc2012_is_in_imagenet21k_but_for_teddy_bear():
  full, thousand = synsets.imagenet21k(), synsets.ilsvrc2012()
  indices, missing = synsets.subset_indices(thousand, full)
  assert missing == (TEDDY,)
  assert indices.shape == (999,)
  kept = [synset for synset in thousand.synsets if synset != TEDDY]
  assert [full.synsets[label] for label in indices] == kept


@needs_tfds
def test_ilsvrc2012_imports_neither_tensorflow_nor_tensorflow_datasets():
  code = (
    "import sys; from im21k import synsets; synsets.ilsvrc2012(); "
    "heavy = {'tensorflow', 'tensorflow_datasets', 'jax'} & set(sys.modules); "
    "assert not heavy, heavy"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_ilsvrc2012_says_what_to_install_where_the_package_is_absent(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  message = r"tensorflow-datasets, .*labels\.txt: that is not installed\. Run `pip inst"
  with pytest.raises(FileNotFoundError, match=message):
    synsets.ilsvrc2012()


def test_ilsvrc2012_says_where_the_label_file_is_missing(monkeypatch, tmp_path):
  spec = importlib.machinery.ModuleSpec("tensorflow_datasets", None, is_package=True)
  spec.submodule_search_locations = [str(tmp_path)]
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
  message = rf"labels\.txt: in {tmp_path} it is missing\. .*a text file of synset ids"
  with pytest.raises(FileNotFoundError, match=message):
    synsets.ilsvrc2012()


def test_ilsvrc2012_sorts_the_file_that_it_finds_in_any_of_the_folders(
  monkeypatch, tmp_path
):
  labels = tmp_path / "datasets" / "imagenet2012" / "labels.txt"
  labels.parent.mkdir(parents=True)
  labels.write_text(f"{GOLDFISH}\n{TENCH}\n")
  spec = importlib.machinery.ModuleSpec("tensorflow_datasets", None, is_package=True)
  spec.submodule_search_locations = [str(tmp_path / "empty"), str(tmp_path)]
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
  assert synsets.ilsvrc2012() == ClassList("ilsvrc2012", (TENCH, GOLDFISH))


# ClassList, a value.


def test_a_class_list_is_a_value(fish):
  same = ClassList("fish", (TENCH, GOLDFISH, SHARK))
  assert fish == same
  assert len({fish, same}) == 1
  assert pickle.loads(pickle.dumps(fish)) == fish
  with pytest.raises(dataclasses.FrozenInstanceError):
    fish.name = "sharks"


def test_a_class_list_prints_short(fish):
  assert repr(fish) == f"ClassList('fish', 3 classes, hash {fish.hash})"


def test_names_fall_back_to_the_id():
  some = ClassList("some", (TENCH, "n99999999", "n00001740"))
  assert some.names == ("tench, Tinca tinca", "n99999999", "entity")


def test_index_is_the_label(fish):
  assert [fish.index(synset) for synset in fish.synsets] == [0, 1, 2]


def test_index_of_a_stranger_names_it_and_the_list(fish):
  message = f"'{TEDDY}' is not among the 3 of 'fish'"
  with pytest.raises(KeyError, match=message):
    fish.index(TEDDY)


@hypothesis.given(ids=synset_lists, data=st.data())
def test_the_hash_tells_order_and_content_but_not_names(ids, data):
  some = ClassList("some", tuple(ids))
  digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
  assert some.hash == digest[:16]
  assert ClassList("other", tuple(ids)).hash == some.hash
  shuffled = data.draw(st.permutations(ids))
  assert (ClassList("some", tuple(shuffled)).hash == some.hash) == (shuffled == ids)
  if len(ids) > 1:
    assert ClassList("some", tuple(ids[:-1])).hash != some.hash


@pytest.mark.parametrize(
  ("ids", "message"),
  [
    ((), "class list 'bad': holds no classes"),
    (
      (TENCH, GOLDFISH, TENCH),
      "class list 'bad', label 2: n01440764 occurs already at",
    ),
    (
      (TENCH, "n0144076"),
      "class list 'bad', label 1: 'n0144076' is not a synset id; t",
    ),
  ],
)
def test_a_bad_class_list_cannot_be_made(ids, message):
  with pytest.raises(ValueError, match=message):
    ClassList("bad", ids)


def test_check_same_passes_the_same_list_under_another_name(fish):
  renamed = dataclasses.replace(fish, name="swimmers")
  fish.check_same(renamed.name, renamed.hash, "weights.json")


def test_check_same_names_both_lists_and_says_what_to_do(fish):
  other = ClassList("fish reversed", fish.synsets[::-1])
  with pytest.raises(ClassListMismatch) as caught:
    fish.check_same(other.name, other.hash, "weights.json")
  assert str(caught.value) == (
    f"weights.json was made with class list 'fish reversed' (hash {other.hash}), but "
    f"'fish' (hash {fish.hash}, 3 classes) is in use. The same label means different "
    "synsets in the two, so names and scores would be wrong without any error. Use the "
    "list that weights.json was made with, or make it again with 'fish'."
  )
  assert isinstance(caught.value, ValueError)


@hypothesis.given(sub=synset_lists, full=synset_lists)
def test_subset_indices_is_that_of_brute_force(sub, full):
  sub = [*sub, *(synset for synset in full[::2] if synset not in sub)]
  indices, missing = synsets.subset_indices(
    ClassList("sub", tuple(sub)), ClassList("full", tuple(full))
  )
  assert indices.dtype == np.int32
  assert indices.tolist() == [full.index(synset) for synset in sub if synset in full]
  assert missing == tuple(synset for synset in sub if synset not in full)


def test_subset_indices_of_strangers_is_empty_and_still_an_index(fish):
  indices, missing = synsets.subset_indices(ClassList("toy", (TEDDY,)), fish)
  assert np.zeros((2, 3))[:, indices].shape == (2, 0)
  assert missing == (TEDDY,)


# Lists in files.


@hypothesis.settings(deadline=None)
@hypothesis.given(
  ids=synset_lists,
  tail=st.sampled_from(
    ["", " tench", "\ttench, Tinca tinca", " # a fish", "  ", " \x85n"]
  ),
  end=st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n# n00000000\n", "\n  \t \n"]),
  mark=st.sampled_from(["", "\ufeff"]),
)
def test_from_file_reads_the_first_word_of_each_line(
  tmp_path_factory, ids, tail, end, mark
):
  path = tmp_path_factory.getbasetemp() / "some.list.txt"
  text = mark + end.join(f"{synset}{tail}" for synset in ids)
  path.write_bytes(text.encode("utf-8"))
  assert synsets.from_file(path) == ClassList("some.list", tuple(ids))
  path.write_bytes((text + end).encode("utf-8"))
  assert synsets.from_file(str(path)) == ClassList("some.list", tuple(ids))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (b"", r"bad\.txt: holds no classes"),
    (b"# nothing\n\n", r"bad\.txt: holds no classes"),
    (
      b"# fish\nn01440764\nn01443537\nn01440764\n",
      r"bad\.txt, line 4: n01440764 occurs already at .*bad\.txt, line 2$",
    ),
    (b"n01440764\n\xff\n", r"bad\.txt, line 2: not UTF-8 text \(invalid start byte\)"),
    (b"n01440764 t\xe9nch\n", r"bad\.txt, line 1: not UTF-8 text"),
    ("n01440764\n".encode("utf-16"), r"bad\.txt, line 1: not UTF-8 text"),
    (
      b"n01440764\n\ntench n01440764\n",
      r"bad\.txt, line 3: 'tench' is not a synset id; those are n and 8 digits",
    ),
  ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, text, message):
  path = tmp_path / "bad.txt"
  path.write_bytes(text)
  with pytest.raises(ValueError, match=message):
    synsets.from_file(path)


@pytest.mark.parametrize(
  "word",
  [
    "n0144076",
    "n014407640",
    "N01440764",
    "01440764",
    "v01440764",
    "n0144076x",
    "n01440764,",
    "n0144076\u0664",
    "n01440764#",
  ],
)
def test_a_malformed_id_is_refused(tmp_path, word):
  path = tmp_path / "bad.txt"
  path.write_text(f"{GOLDFISH}\n{word}\n", encoding="utf-8")
  message = re.escape(f"bad.txt, line 2: {word!r} is not a synset id")
  with pytest.raises(ValueError, match=message):
    synsets.from_file(path)


def test_a_missing_file_is_the_systems_own_error(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
    synsets.from_file(tmp_path / "absent.txt")


# Lists by name.


def test_get_knows_imagenet21k():
  assert synsets.get("imagenet21k") == synsets.imagenet21k()


@needs_tfds
def test_get_knows_ilsvrc2012():
  assert synsets.get("ilsvrc2012") == synsets.ilsvrc2012()


def test_get_reads_a_path(tmp_path, fish):
  path = tmp_path / "fish.txt"
  path.write_text("\n".join(fish.synsets))
  assert synsets.get(path) == synsets.get(str(path)) == fish


@pytest.mark.parametrize(
  ("typo", "nearest"),
  [
    ("imagenet_21k", "imagenet21k"),
    ("IMAGENET21K", "imagenet21k"),
    ("ilsvrc2021", "ilsvrc2012"),
  ],
)
def test_get_offers_the_nearest_name_on_a_typo(typo, nearest):
  message = (
    rf"'{typo}' is neither a class list .* nor a file\. Did you mean '{nearest}'"
  )
  with pytest.raises(ValueError, match=message):
    synsets.get(typo)


def test_get_lists_the_names_where_none_is_near(tmp_path):
  message = r"is neither a class list \(imagenet21k, ilsvrc2012, .*\) nor a file\.$"
  for nothing in ("", "cifar", tmp_path, tmp_path / "absent.txt"):
    with pytest.raises(ValueError, match=message):
      synsets.get(nothing)


def test_every_name_gives_the_list_of_that_name():
  for name, make in published._BY_NAME.items():
    if name != "ilsvrc2012":  # It needs tensorflow-datasets.
      assert make().name == name and synsets.get(name) == make()

"""Photos in folders of any names are packed, with the classes that the folders say."""

import json
import shutil
import tarfile

import pytest

from im21k import synsets
from im21k.dataset.manifest import Manifest
from im21k.packing import class_choice
from im21k.packing.pack import pack, text
from im21k.packing.verify import verify
from im21k.photos import sources
from im21k.synsets import ClassList

FISH, SHARK, DOG = "n01440764", "n01484850", "n02084071"
CAFE = "cafe\u0301"  # As some systems write it; ids have one letter for its end.


@pytest.fixture
def named(photos):
  """`named({"my dog": 4})`: a folder of so many photos in each class folder."""

  def make(counts):
    root = photos({f"n{at:08d}": count for at, count in enumerate(counts.values())})
    for folder, name in zip(sorted(root.iterdir()), counts, strict=True):
      for at, photo in enumerate(sorted(folder.iterdir())):
        photo.rename(folder / f"{at}.jpg")
      folder.rename(root / name)
    return root

  return make


@pytest.fixture
def own(named):
  """Three classes with names of a user's own."""
  return named({"my dog": 4, "cats": 3, CAFE: 2})


def labelled(read, folder, split="train"):
  ids = Manifest.load(folder).classes(folder).synsets
  return {example.key: ids[example.label] for example in read(folder, split)}


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_folders_of_any_names_are_classes(own, tmp_path, read, shuffle):
  (own / "__MACOSX").mkdir()
  (own / "__MACOSX" / "._a.jpg").touch()
  result = pack(own, tmp_path / "out", workers=1, shuffle=shuffle, eval_per_class=1)
  assert (result["train"], result["eval"], result["rejected"]) == (6, 3, 0)
  line = (
    "3 own classes in list 'photos': caf\u00e9, cats, my dog; none hangs under a syn"
  )
  assert result["own_classes"].startswith(line) and line in text(result)
  classes = Manifest.load(tmp_path / "out").classes(tmp_path / "out")
  assert classes == ClassList("photos", ("caf\u00e9", "cats", "my dog"))
  found = labelled(read, tmp_path / "out") | labelled(read, tmp_path / "out", "eval")
  assert len(found) == 9
  for key, one in found.items():
    assert one == synsets.normalized(key.split("/")[0])
    assert (own / key).is_file(), "the key leads back to the photo"
  report = json.loads((tmp_path / "out" / "report.json").read_text())
  assert report["train_classes"] == {"cats": 2, "caf\u00e9": 1, "my dog": 3}
  assert verify(tmp_path / "out")["classes"] == 3


def test_packed_own_classes_are_a_source(own, tmp_path, read):
  pack(own, tmp_path / "first", workers=1)
  pack(tmp_path / "first", tmp_path / "again", workers=1)
  first, again = (labelled(read, tmp_path / name) for name in ("first", "again"))
  assert first == again and len(first) == 9


def test_the_dry_run_says_the_classes_too(own, tmp_path):
  result = pack(own, tmp_path / "out", dry_run=True)
  assert result["photos"] == 9 and "3 own classes" in text(result)


def test_own_classes_in_a_tar_need_a_list(own, tmp_path, read):
  with tarfile.open(tmp_path / "own.tar", "w") as tar:
    tar.add(own, "around")
  with pytest.raises(
    ValueError, match=r"nothing says its class; .*\(--classes FILE\)$"
  ):
    pack(tmp_path / "own.tar", tmp_path / "none", workers=1)
  shutil.rmtree(tmp_path / "none")
  (tmp_path / "mine.csv").write_text(
    f"id,name,under\nmy dog,Rex,{DOG}\ncats,,\ncaf\u00e9,,\n"
  )
  pack(
    tmp_path / "own.tar",
    tmp_path / "tar",
    workers=1,
    classes=str(tmp_path / "mine.csv"),
  )
  pack(own, tmp_path / "out", workers=1)
  ids = {synsets.normalized(k): v for k, v in labelled(read, tmp_path / "out").items()}
  assert labelled(read, tmp_path / "tar") == ids
  listed = Manifest.load(tmp_path / "tar").classes(tmp_path / "tar")
  assert (listed.names[0], listed.under) == ("Rex", (DOG, "", ""))


def test_a_tsv_may_name_classes_of_the_list(own, tmp_path, read):
  rows = [f"{p.relative_to(own)}\tmy dog" for p in (own / "my dog").iterdir()]
  (own / "list.tsv").write_text("\n".join(rows))
  (tmp_path / "mine.txt").write_text("cats\nmy dog\n")
  pack(
    own / "list.tsv", tmp_path / "out", workers=1, classes=str(tmp_path / "mine.txt")
  )
  assert set(labelled(read, tmp_path / "out").values()) == {"my dog"}


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_folder_outside_an_own_list_is_an_error_or_skipped(own, tmp_path, shuffle):
  (tmp_path / "mine.txt").write_text("cats\nmy dog\n")
  options = {"classes": str(tmp_path / "mine.txt"), "shuffle": shuffle, "workers": 1}
  with pytest.raises(
    ValueError, match="which is not among the 2 classes of class list"
  ):
    pack(own, tmp_path / "out", **options)
  assert not (tmp_path / "out").exists()
  result = pack(own, tmp_path / "out", unlisted="skip", **options)
  assert (result["train"], result["skipped"]) == (7, 2)


def test_synsets_beside_other_folders_are_refused_as_ever_or_skipped(named, tmp_path):
  source = named({FISH: 2, "misc": 1})
  with pytest.raises(ValueError, match="'misc' is a folder not named by a synset id"):
    pack(source, tmp_path / "out", workers=1)
  result = pack(source, tmp_path / "out", workers=1, unlisted="skip")
  assert (result["train"], result["skipped"]) == (2, 1)
  assert "own_classes" not in result
  pack(source, tmp_path / "both", workers=1, classes="folders")
  listed = Manifest.load(tmp_path / "both").classes(tmp_path / "both")
  assert listed.synsets == ("misc", FISH)
  assert listed.names == ("misc", "tench, Tinca tinca")


def test_own_folders_are_refused_where_the_list_is_of_synsets(own, tmp_path):
  with pytest.raises(ValueError, match="not among the 21,841 synsets"):
    pack(own, tmp_path / "out", classes="imagenet21k")


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (("train/cats", "val/cats"), "train and val, have the names of splits.*such as"),
    (("Train/cats", "TEST/cats"), "have the names of splits"),
    (
      ("photos/cats", "photos/dogs"),
      "it holds one folder, and that holds only folders",
    ),
    (("n01440764 tench", "n01484850-shark"), "leave n01440764 alone"),
    (("#1", "b"), "begins with '.' or '#'"),
    (("a\tb", "b"), "has control characters"),
    (("caf\u00e9", CAFE), "caf\u00e9 occurs already at"),
  ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path, names, message):
  for name in names:
    (tmp_path / "photos" / name).mkdir(parents=True)
    (tmp_path / "photos" / name / "a.jpg").write_bytes(b"x")
  with pytest.raises(ValueError, match=message) as caught:
    pack(tmp_path / "photos", tmp_path / "out")
  assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_splits_are_classes_if_the_user_says_so(tmp_path):
  for name in ("train", "test"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.jpg").write_bytes(b"x")
  assert class_choice.choose("folders", tmp_path).synsets == ("test", "train")


@pytest.mark.parametrize("name", ["photo.jpg", "empty", "nowhere"])
def test_folders_are_asked_for_where_there_are_none(tmp_path, jpeg, name):
  (tmp_path / "photo.jpg").write_bytes(jpeg())
  (tmp_path / "empty").mkdir()
  with pytest.raises(
    ValueError, match=f"classes is 'folders', but .*{name} is no folder"
  ):
    class_choice.choose("folders", tmp_path / name)
  assert class_choice.choose(None, tmp_path / name) == synsets.imagenet21k()


def test_a_killed_run_is_not_resumed_with_other_places_of_the_same_classes(
  own, tmp_path, monkeypatch
):
  lists = [f"id,under\ncats,\ncaf\u00e9,\nmy dog,{under}\n" for under in ("", DOG)]
  (tmp_path / "mine.csv").write_text(lists[0])
  options = {"classes": str(tmp_path / "mine.csv"), "workers": 1}
  with monkeypatch.context() as patch:
    patch.setattr("im21k.packing.completion.complete", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      pack(own, tmp_path / "out", **options)
  (tmp_path / "mine.csv").write_text(lists[1])
  with pytest.raises(FileExistsError, match="classes"):
    pack(own, tmp_path / "out", **options)
  (tmp_path / "mine.csv").write_text(lists[0])
  assert pack(own, tmp_path / "out", **options)["train"] == 9


def test_several_labels_with_spaces_are_told_apart(own, tmp_path):
  data = next((own / "my dog").iterdir()).read_bytes()
  (own / "cats" / "same.jpg").write_bytes(data)
  pack(own, tmp_path / "out", workers=1, duplicates="multi-label")
  _, row = (tmp_path / "out" / "labels.tsv").read_text().splitlines()
  assert row == "cats/same.jpg\tcats\tmy dog"


def test_a_remap_may_name_own_classes(own, tmp_path, read):
  (tmp_path / "remap").write_text("my dog\tcats\ncaf\u00e9\t-\n")
  (tmp_path / "mine.txt").write_text("cats\n")
  options = {"classes": str(tmp_path / "mine.txt"), "remap": tmp_path / "remap"}
  pack(own, tmp_path / "out", workers=1, **options)
  assert len(labelled(read, tmp_path / "out")) == 7


def test_a_source_of_own_folders_is_read_by_every_verb(own):
  found = {(photo.synset, photo.key.split("/")[0]) for photo in sources.open(own)}
  assert found == {("my dog", "my dog"), ("cats", "cats"), ("caf\u00e9", CAFE)}

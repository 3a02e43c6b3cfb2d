"""The selection: labels, classes left out, hold-out, duplicates."""

import hashlib
import json
from collections import Counter

import pytest

from im21k import synsets
from im21k.dataset.manifest import Manifest
from im21k.packing.pack import pack
from im21k.synsets import ClassList

FISH, SHARK, RAY, HEN = "n01440764", "n01484850", "n01496331", "n01514859"
COUNTS = {FISH: 1, SHARK: 3, RAY: 4, HEN: 10}


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({}, {}),
    ({"eval_per_class": 2}, {RAY: 2, HEN: 2}),
    ({"eval_per_class": 2, "eval_min_class_size": 3}, {SHARK: 2, RAY: 2, HEN: 2}),
    ({"eval_per_class": 2, "eval_min_class_size": 5}, {HEN: 2}),
    ({"eval_fraction": 0.3}, {SHARK: 1, RAY: 1, HEN: 3}),
    ({"eval_fraction": 0.5}, {SHARK: 2, RAY: 2, HEN: 5}),
  ],
)
def test_photos_are_held_out_of_every_class(photos, tmp_path, options, expected, keys):
  out = tmp_path / "out"
  result = pack(photos(COUNTS), out, workers=1, shards=1, **options)
  held = keys(out, "eval") if expected else []
  assert Counter(key.split("/")[0] for key in held) == expected
  assert (result["train"], result["eval"]) == (18 - len(held), len(held))
  assert ("eval" in Manifest.load(out).splits) == bool(expected)
  assert not set(held) & set(keys(out, "train"))


def test_a_folder_outside_the_class_list_is_named_with_what_to_do(photos, tmp_path):
  source, teddy_bear = photos({FISH: 1, "n04399382": 1}), "n04399382"
  message = (
    f"{teddy_bear}_0.jpg is in folder {teddy_bear}, which is not among the 21,841 "
    "synsets of class list 'imagenet21k': remove the folder, skip it"
  )
  with pytest.raises(ValueError, match=message):
    pack(source, tmp_path / "out", workers=1)
  assert not (tmp_path / "out").exists()
  pack(source, tmp_path / "out", classes="ilsvrc2012", workers=1)
  manifest = Manifest.load(tmp_path / "out")
  assert manifest.class_list == "ilsvrc2012"
  assert manifest.classes(tmp_path / "out") == synsets.ilsvrc2012()


def test_a_users_class_list_gives_the_labels(photos, tmp_path, read):
  (tmp_path / "mine.txt").write_text(f"{SHARK} shark\n{FISH} fish\n")
  source, out = photos({FISH: 2, SHARK: 1}), tmp_path / "out"
  pack(source, out, classes=str(tmp_path / "mine.txt"), workers=1)
  labels = {example.key[:9]: example.label for example in read(out, "train")}
  assert labels == {SHARK: 0, FISH: 1}
  assert Manifest.load(out).classes(out) == ClassList("mine", (SHARK, FISH))


def test_holding_everything_out_is_refused(photos, tmp_path):
  with pytest.raises(ValueError, match=r"all 2 photos .* would be held out"):
    pack(photos({FISH: 1, SHARK: 1}), tmp_path / "out", eval_fraction=0.9)
  assert not (tmp_path / "out").exists()


def test_synset_folders_without_files_are_an_error(tmp_path):
  (tmp_path / "photos" / FISH).mkdir(parents=True)
  with pytest.raises(
    ValueError, match="photos has no photo to pack: its synset folders hold"
  ):
    pack(tmp_path / "photos", tmp_path / "out")


@pytest.mark.parametrize(("how", "train"), [("drop", 24), ("multi-label", 24)])
def test_of_equal_photos_one_stays(fishes, tmp_path, how, train):
  data = (fishes / FISH / f"{FISH}_0.jpg").read_bytes()
  (fishes / SHARK / "copy.jpg").write_bytes(data)
  (fishes / FISH / "z.jpg").write_bytes(data)
  result = pack(fishes, tmp_path / "out", workers=1, duplicates=how)
  assert result["train"] == train
  labels = tmp_path / "out" / "labels.tsv"
  assert labels.exists() == (how == "multi-label")
  if labels.exists():
    assert labels.read_text() == f"key\tsynsets\n{FISH}/{FISH}_0.jpg\t{FISH} {SHARK}\n"


def test_excluded_remapped_and_held_out_by_list(fishes, tmp_path):
  photo = fishes / FISH / f"{FISH}_0.jpg"
  digest = hashlib.sha256(photo.read_bytes()).hexdigest()
  (tmp_path / "hashes").write_text(f"{digest}  {photo.name}\n")
  (tmp_path / "remap").write_text(f"{SHARK}\t{FISH}\n{RAY}\t-\n")
  (tmp_path / "keys").write_text(f"{FISH}/{FISH}_1.jpg\n")
  result = pack(
    fishes, tmp_path / "out", workers=1, exclude_hashes=tmp_path / "hashes",
    remap=tmp_path / "remap", eval_keys=tmp_path / "keys",
  )  # fmt: skip
  assert (result["train"], result["eval"], result["rejected"]) == (15, 1, 2)
  assert result["classes"] == 1


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_keys_to_hold_out_that_no_photo_has_are_an_error(fishes, tmp_path, shuffle):
  keys = tmp_path / "keys"
  keys.write_text(f"{FISH}/another.jpg\n")
  with pytest.raises(
    ValueError, match=r"keys: no line is the key of .* its keys is 'n"
  ):
    pack(fishes, tmp_path / "out", workers=1, shuffle=shuffle, eval_keys=keys)


@pytest.mark.parametrize(
  ("option", "text", "message"),
  [
    ("remap", f"{FISH}\t{SHARK}\n{RAY}\n", "line 2: not a synset and its replacement"),
    ("remap", f"{FISH}/0.jpg\t{FISH}\n", "line 1: not a synset and its replacement"),
    ("remap", "\udcff", "not UTF-8 text"),
    (
      "exclude_hashes",
      f"{'0' * 64}  a\nabc  b\n",
      "line 2: not a SHA-256 of 64 digits",
    ),
    ("exclude_hashes", f"{'0' * 62}zz\n", "line 1: not a SHA-256 of 64 digits"),
  ],
)
def test_a_wrong_line_of_a_file_is_named(fishes, tmp_path, option, text, message):
  (tmp_path / "file").write_bytes(text.encode("utf-8", "surrogateescape"))
  with pytest.raises(ValueError, match=f"{tmp_path / 'file'}:? {message}"):
    pack(fishes, tmp_path / "out", workers=1, **{option: tmp_path / "file"})
  assert not (tmp_path / "out").exists()


def test_a_remap_to_a_class_outside_the_list_is_an_error(fishes, tmp_path):
  (tmp_path / "remap").write_text(f"{FISH}\tn04399382\n")
  with pytest.raises(ValueError, match="not among the 21,841 synsets"):
    pack(fishes, tmp_path / "out", workers=1, remap=tmp_path / "remap")


def test_all_classes_left_out_is_an_error(fishes, tmp_path):
  (tmp_path / "remap").write_text("".join(f"{s}\t-\n" for s in (FISH, SHARK, RAY)))
  with pytest.raises(ValueError, match="or all their classes are left out"):
    pack(fishes, tmp_path / "out", workers=1, remap=tmp_path / "remap")


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_held_out_photos_do_not_depend_on_classes_beside_them(
  photos, tmp_path, keys, shuffle
):
  """Within a class the lowest ranks are held out, whatever else is packed."""
  some = photos({FISH: 9}, "some")
  more = photos({FISH: 9, SHARK: 5}, "more")
  options = {"eval_per_class": 2, "workers": 1, "shuffle": shuffle}
  for source in (some, more):
    pack(source, tmp_path / f"{source.name}-out", **options)
  held = {key for key in keys(tmp_path / "more-out", "eval") if key.startswith(FISH)}
  assert held == set(keys(tmp_path / "some-out", "eval"))


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_photos_left_out_for_their_class_are_counted(photos, tmp_path, shuffle):
  source = photos({"n02084071": 3, "n00007846": 2, "n02121808": 1})
  remap = tmp_path / "remap.tsv"
  remap.write_text("n02121808\t-\n")
  result = pack(
    source, tmp_path / "out", shuffle=shuffle, unlisted="skip", remap=remap, workers=1,
    classes=str(listed(tmp_path, "n02084071")),
  )  # fmt: skip
  assert (result["train"], result["skipped"], result["rejected"]) == (3, 3, 0)
  report = json.loads((tmp_path / "out" / "report.json").read_text())
  assert report["skipped"] == {"n00007846": 2, "n02121808": 1}
  summary = (tmp_path / "out" / "report.txt").read_text()
  assert "3  skip    class to be left out (n00007846 2, n02121808 1)" in summary


def listed(tmp_path, *synsets):
  path = tmp_path / "classes.txt"
  path.write_text("".join(f"{synset}\n" for synset in synsets))
  return path

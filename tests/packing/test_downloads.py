"""ImageNet as downloaded is packed as it is, or a line says what is missing."""

import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from im21k import photos as photo_sources
from im21k import synsets
from im21k.packing import hints
from im21k.packing.config import PackOptions
from im21k.packing.pack import pack
from im21k.photos import devkit, downloads, validation
from im21k.synsets import ClassList

packing = sys.modules["im21k.packing.pack"]
FISH, SHARK, RAY, TEDDY = "n01440764", "n01484850", "n01496331", "n04399382"
COUNTS = {FISH: 4, SHARK: 3, RAY: 3}


@pytest.fixture
def made(ilsvrc2012_like, photos, tmp_path):
  """Three archives of ten photos, of which three are to validate."""
  return ilsvrc2012_like.make(photos(COUNTS), tmp_path / "downloads")


@pytest.fixture
def labelled(made, read):
  """Checks that a packed folder holds the photos of `made` with their classes."""

  def check(folder, classes=None):
    listed = (classes or synsets.imagenet21k()).synsets
    val = {e.key: (e.jpeg, listed[e.label]) for e in read(folder, "eval")}
    assert val == {
      f"ILSVRC2012_val_{n:08d}.JPEG": (path.read_bytes(), synset)
      for n, (path, synset) in enumerate(made.val, 1)
    }
    train = sorted((listed[e.label], e.jpeg) for e in read(folder, "train"))
    assert train == sorted(
      (synset, path.read_bytes()) for synset, paths in made.train.items()
      for path in paths
    )  # fmt: skip
    assert all(e.key.split("/")[0] in COUNTS for e in read(folder, "train"))

  return check


def test_a_folder_of_the_archives_is_packed_with_the_labels_of_the_kit(
  made, labelled, tmp_path
):
  out = tmp_path / "out"
  before = sorted(path.name for path in made.folder.iterdir())
  result = pack(made.folder, out, workers=1)
  assert (result["train"], result["eval"], result["rejected"]) == (7, 3, 0)
  labelled(out)
  # The published list, which goes by the same names, would say something else.
  published = synsets.validation_labels()[:3]
  assert published != [synset for _, synset in made.val]
  assert sorted(path.name for path in made.folder.iterdir()) == before
  text = packing.text(result)
  assert "train: 7 photos of ILSVRC2012_img_train.tar\n" in text
  assert "eval: 3 photos of ILSVRC2012_img_val.tar, labels of " + devkit.NAME in text
  train, val = made.folder / downloads.TRAIN_ARCHIVE, made.folder / validation.ARCHIVE
  pack(train, tmp_path / "given", eval=val, workers=1)
  pack(train, tmp_path / "folder", eval=made.folder, workers=1)
  for path in out.iterdir():
    for other in ("given", "folder"):
      assert (tmp_path / other / path.name).read_bytes() == path.read_bytes()
  assert pack(made.folder, tmp_path / "dry", dry_run=True)["eval"] == 3


@pytest.mark.parametrize("name", [downloads.TRAIN_ARCHIVE, validation.ARCHIVE])
def test_one_archive_of_them_is_one_split(made, tmp_path, name):
  (made.folder / name).unlink()
  result = pack(made.folder, tmp_path / "out", workers=1)
  of_train = name != downloads.TRAIN_ARCHIVE
  assert (result["train"], result["eval"]) == ((7, 0) if of_train else (0, 3))


def test_files_beside_of_other_tasks_are_no_photos(made, tmp_path):
  for name in ("ILSVRC2012_img_test_v10102019.tar", "ILSVRC2012_bbox_train_v2.tar.gz"):
    shutil.copy(made.folder / validation.ARCHIVE, made.folder / name)
  assert pack(made.folder, tmp_path / "out", workers=1)["train"] == 7


def test_without_the_kit_an_error_says_which_file_and_what_else(
  made, labelled, tmp_path
):
  (made.folder / devkit.NAME).unlink()
  train, val = made.folder / downloads.TRAIN_ARCHIVE, made.folder / validation.ARCHIVE
  message = (
    r"ILSVRC2012_devkit_t12\.tar\.gz of image-net\.org .* beside it; or .*--labels"
  )
  for source, options in ((made.folder, {}), (train, {"eval": val})):
    with pytest.raises(ValueError, match=message) as error:
      pack(source, tmp_path / "out", workers=1, **options)
    assert "\n" not in str(error.value)
  labels = tmp_path / "labels.txt"
  labels.write_text("".join(f"{synset}\n" for _, synset in made.val))
  for name, source, options in (
    ("one", made.folder, {}), ("two", train, {"eval": val})
  ):  # fmt: skip
    pack(source, tmp_path / name, workers=1, labels=labels, **options)
    labelled(tmp_path / name)


def test_of_all_official_photos_the_published_labels_are_known(
  made, tmp_path, monkeypatch
):
  (made.folder / devkit.NAME).unlink()
  monkeypatch.setattr(validation, "ALL", 3)
  result = pack(made.folder, tmp_path / "out", workers=1, dry_run=True)
  assert result["eval"] == 3


def kit(made, like, truth=None, meta=None):
  truth = [made.ids[synset] for _, synset in made.val] if truth is None else truth
  meta = like.meta(made.ids) if meta is None else meta
  like.write_kit(made.folder / devkit.NAME, meta, truth)


def fewer(made, like):
  kit(made, like, truth=[made.ids[synset] for _, synset in made.val][:2])


def more(made, like):
  kit(made, like, truth=[1, 1, 1, 1])


def unknown(made, like):
  ids = dict(made.ids)
  ids["n99999999x"] = ids.pop(RAY)
  kit(made, like, meta=like.meta(ids))


def cut(made, like):
  kit(made, like, meta=like.meta(made.ids)[:-20])


def another(made, like):
  like.write_val(made.folder / validation.ARCHIVE, [p for p, _ in made.val] * 2)


def hole(made, like):
  """Photo 2 is there as photo 4."""
  path = made.val[1][0]
  more = {"ILSVRC2012_val_00000004.JPEG": path.read_bytes()}
  files = [made.val[0][0]]
  like.write_val(made.folder / validation.ARCHIVE, files, more)


def flat(made, like):
  shutil.copy(made.folder / validation.ARCHIVE, made.folder / downloads.TRAIN_ARCHIVE)


def swapped(made, like):
  shutil.copy(made.folder / downloads.TRAIN_ARCHIVE, made.folder / validation.ARCHIVE)


def page(made, like):
  """What a server without a login sends."""
  (made.folder / downloads.TRAIN_ARCHIVE).write_text("<html>Log in</html>")


def whole(made, like):
  shutil.copy(made.folder / downloads.TRAIN_ARCHIVE, made.folder / "fall11_whole.tar")


def beside(made, like):
  shutil.copy(made.val[0][0], made.folder / "a.jpg")


WRONG = {
  fewer: r"has 3 validation photos, numbered up to 3, but .* for photos 1 to 2: get",
  more: r"has 3 validation photos.* labels for photos 1 to 4: get both again",
  unknown: r"meta\.mat: row \d: 'n99999999x' is no synset id; get the kit again",
  cut: r"meta\.mat: it is damaged: .* cut short; get the kit again",
  another: r"has 6 validation photos, numbered up to 6, but .* photos 1 to 3",
  hole: r"has 2 validation photos, numbered up to 4, but .* photos 1 to 3",
  flat: r"img_train\.tar should hold a tar for each class, such as n01440764\.tar, but "
    r"begins with 'ILSVRC2012_val_00000001\.JPEG'",
  swapped: r"img_val\.tar should hold the photos ILSVRC2012_val_00000001",
  page: r"img_train\.tar should hold a tar for each class",
  whole: r"holds ILSVRC2012_img_train\.tar and ILSVRC2012_img_val\.tar and "
    r"fall11_whole\.tar, which have photos in common: give one of them",
  beside: r"holds .* and a\.jpg beside: give one of them",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_what_is_not_as_it_should_be_is_one_line(
  made, ilsvrc2012_like, tmp_path, wrong
):
  wrong(made, ilsvrc2012_like)
  with pytest.raises(ValueError, match=WRONG[wrong]) as error:
    pack(made.folder, tmp_path / "out", workers=1)
  assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_something_else_in_the_validation_tar_is_a_row(
  made, ilsvrc2012_like, labelled, tmp_path
):
  more = {"README": b"text", "more.JPEG": made.val[0][0].read_bytes()}
  path = made.folder / validation.ARCHIVE
  ilsvrc2012_like.write_val(path, [p for p, _ in made.val], more)
  result = pack(made.folder, tmp_path / "out", workers=1)
  assert (result["eval"], result["rejected"]) == (3, 1)
  assert [row["rejected"] for row in result["sources"]] == [0, 1]
  rows = (tmp_path / "out" / "rejected.tsv").read_text().splitlines()
  assert rows[1:] == ["more.JPEG\tunreadable\tnothing says its class"]
  labelled(tmp_path / "out")


def test_a_damaged_validation_tar_is_packed_as_far_as_it_can_be(made, tmp_path):
  path = made.folder / validation.ARCHIVE
  data = bytearray(path.read_bytes())
  with tarfile.open(path) as tar:
    second = tar.getmembers()[1].offset
  data[second + 100 : second + 200] = b"x" * 100
  path.write_bytes(data)
  result = pack(made.folder, tmp_path / "out", workers=1)
  assert result["eval"] == 2 and "img_val.tar is damaged" in result["failed"]


def test_another_kit_when_a_run_is_resumed_is_refused(
  made, ilsvrc2012_like, tmp_path, monkeypatch
):
  from im21k.packing import driver

  def killed(*args, **options):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(driver.Packer, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
      pack(made.folder, tmp_path / "out", workers=1)
  kit(made, ilsvrc2012_like, truth=[1, 1, 1])
  with pytest.raises(FileExistsError, match=r"devkit_t12\.tar\.gz (has|was modified)"):
    pack(made.folder, tmp_path / "out", workers=1)


def test_hold_out_options_beside_official_photos_are_refused(made, tmp_path):
  for options in ({"eval_per_class": 1}, {"eval_fraction": 1.0}, {"eval": made.folder}):
    with pytest.raises(ValueError, match=r"ILSVRC2012_img_val\.tar is the(re| eval)"):
      pack(made.folder, tmp_path / "out", workers=1, **options)
  options = {"source_split": "train", "eval_per_class": 1, "workers": 1}
  result = pack(made.folder, tmp_path / "out", **options)
  assert result["train"] + result["eval"] == 7 and "sources" not in result
  pure = {"source_split": "eval", "eval_fraction": 1.0, "workers": 1}
  assert pack(made.folder, tmp_path / "pure", **pure)["eval"] == 3


def test_every_command_reads_the_photos_of_a_split_of_the_folder(made):
  classes = synsets.imagenet21k()
  val = list(photo_sources.open(made.folder, classes=classes, split="eval"))
  assert [photo.synset for photo in val] == [synset for _, synset in made.val]
  both = list(photo_sources.open(made.folder, classes=classes))
  assert len(both) == 10
  alone = photo_sources.open(made.folder / validation.ARCHIVE, classes=classes)
  assert [p.synset for p in alone] == [synset for _, synset in made.val]


def test_the_thousand_are_the_list_where_one_class_is_no_other(
  ilsvrc2012_like, photos, tmp_path
):
  """n04399382 is among ILSVRC2012's classes, and not among the 21,841."""
  made = ilsvrc2012_like.make(photos({FISH: 2, TEDDY: 2}), tmp_path / "downloads")
  result = pack(made.folder, tmp_path / "out", workers=1)
  assert (result["train"], result["eval"], result["classes"]) == (2, 2, 2)
  assert "hint" not in result
  listed = synsets.get(str(tmp_path / "out"))
  assert listed.hash == synsets.ilsvrc2012().hash
  result = pack(made.folder, tmp_path / "skip", workers=1, unlisted="skip")
  assert result["skipped"] == 2


def test_kaggles_folder_is_packed_with_the_labels_of_its_table(
  made, labelled, tmp_path
):
  root = tmp_path / "kaggle"
  inside = root / "ILSVRC" / "Data" / "CLS-LOC"
  for synset, paths in made.train.items():
    for path in paths:
      (inside / "train" / synset).mkdir(parents=True, exist_ok=True)
      shutil.copy(path, inside / "train" / synset / path.name)
  (inside / "val").mkdir()
  lines = []
  for number, (path, synset) in enumerate(made.val, 1):
    name = f"ILSVRC2012_val_{number:08d}"
    shutil.copy(path, inside / "val" / f"{name}.JPEG")
    lines.insert(0, f"{name},{synset} 1 2 3 4 {synset} 5 6 7 8 \n")
  table = root / "LOC_val_solution.csv"
  table.write_text("ImageId,PredictionString\n" + "".join(lines))
  for number, place in enumerate((root, root / "ILSVRC", inside)):
    result = pack(place, tmp_path / f"out{number}", workers=1)
    assert (result["train"], result["eval"]) == (7, 3)
    assert result["sources"][1]["labels"] == "LOC_val_solution.csv"
    labelled(tmp_path / f"out{number}")
  for line, message in (
    ("ILSVRC2012_val_00000001,n01440764 1 2 3 4 n01484850 1 2 3 4", "one synset with"),
    ("x,n01440764", "line 5 should be a validation photo"),
    (
      f"ILSVRC2012_val_00000001,{RAY}\nILSVRC2012_val_00000001,{FISH}",
      "another synset",
    ),
    (f"ILSVRC2012_val_99999999,{RAY}", "should be a validation photo"),
  ):
    table.write_text("ImageId,PredictionString\n" + "".join(lines) + line + "\n")
    with pytest.raises(ValueError, match=message) as error:
      pack(root, tmp_path / "wrong", workers=1)
    assert "\n" not in str(error.value)
  table.unlink()
  with pytest.raises(ValueError, match=r"whose labels are in none of its files"):
    pack(root, tmp_path / "wrong", workers=1)


@pytest.mark.parametrize("name", downloads.WHOLE)
def test_the_archive_of_all_classes_stands_for_its_folder(made, tmp_path, name):
  folder = tmp_path / "whole"
  folder.mkdir()
  with tarfile.open(made.folder / downloads.TRAIN_ARCHIVE) as tar:
    mode = "w:gz" if name.endswith("gz") else "w"
    with tarfile.open(folder / name, mode) as other:
      for member in tar:
        data = tar.extractfile(member)
        member.name = f"winter21_whole/{member.name}"
        other.addfile(member, data)
  result = pack(folder, tmp_path / "out", workers=1, eval_per_class=1)
  assert (result["train"] + result["eval"], result["classes"]) == (7, 3)
  assert "sources" not in result


def test_a_hint_where_all_classes_are_of_the_thousand():
  listed = synsets.imagenet21k()
  line = hints.about_thousand([FISH, SHARK], listed)
  assert line.startswith("all 2 classes are of ILSVRC2012's 1,000: with --classes ilsv")
  assert hints.about_thousand([FISH], listed).startswith("the one class is of ")
  assert not hints.about_thousand([FISH, "n02512053"], listed)
  assert not hints.about_thousand([], listed)
  assert not hints.about_thousand([FISH], synsets.ilsvrc2012())
  own = ClassList("imagenet21k", (FISH, SHARK))
  assert not hints.about_thousand([FISH], own)


def test_eval_is_an_option_like_others():
  assert PackOptions(eval=Path("a")).resume_key()["eval"] == "a"

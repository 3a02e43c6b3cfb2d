"""Answers of weights with classes of the user's own, with a hierarchy and without."""

import shutil

import numpy as np
import pytest

from im21k import synsets, weights
from im21k.evaluation import results
from im21k.evaluation.calibrate import calibrate
from im21k.evaluation.calibrate import text as calibrate_text
from im21k.evaluation.evaluate import evaluate
from im21k.inference.predict import predict, text
from im21k.loading.train import TrainLoader
from im21k.packing.pack import pack
from im21k.pages import report
from im21k.synsets import ClassList

DOG, CAT = "n02084071", "n02121620"
IDS = ("caf\u00e9", "my dog", "rex", "tom")
BARE = ClassList("mine", IDS)
PLACED = ClassList("mine", IDS, ("", "", "Rex", ""), (DOG, DOG, DOG, CAT))


@pytest.fixture
def save(linear_weights, tmp_path):
  """`save(classes)`: the folder of weights of these four classes."""

  def save(classes):
    rng = np.random.default_rng(0)
    kernel = rng.normal(scale=1 / 3000, size=(48, 4)).astype(np.float32)
    released = linear_weights(kernel, np.zeros(4, np.float32), classes)
    released.save(tmp_path / "weights")
    return tmp_path / "weights"

  return save


@pytest.fixture
def photos(sample_photos, tmp_path):
  """Two photos in each of three folders, one of which the weights do not know."""
  found = iter(sorted(sample_photos.rglob("*.jpg")))
  for name in ("my dog", "tom", "a\tzebra"):
    (tmp_path / "photos" / name).mkdir(parents=True)
    for at in range(2):
      data = next(found).read_bytes()
      (tmp_path / "photos" / name / f"{at}.jpg").write_bytes(data)
  return tmp_path / "photos"


@pytest.mark.parametrize("classes", [BARE, PLACED])
def test_a_release_keeps_names_and_places(save, classes):
  assert weights.load(save(classes)).classes == classes


def test_flat_answers_have_the_names_of_the_list(save, photos):
  result = predict(save(PLACED), photos, definitions=True)
  assert len(result["predictions"]) == 6
  named = {t["synset"]: t for t in result["predictions"][0]["top"]}
  assert {one: t["name"] for one, t in named.items()} == dict(
    zip(IDS, PLACED.names, strict=True)
  )
  assert named["rex"]["definition"].startswith("own class under dog, domestic dog")
  assert "rex  Rex\n" in text(result) and "%  my dog\n" in text(result)


def test_without_a_hierarchy_flat_answers_do_and_others_say_what_is_missing(
  save, photos, tmp_path
):
  folder = save(BARE)
  assert predict(folder, photos)["predictions"]
  listed = tmp_path / "some.txt"
  listed.write_text("tom\nrex\n")
  (first, *_) = predict(folder, photos, classes=str(listed))["predictions"]
  assert {top["synset"] for top in first["top"]} == {"tom", "rex"}
  for options in ({"answer": "diverse"}, {"only": "leaves"}, {"under": DOG}):
    with pytest.raises(ValueError, match=r"'mine' has no hierarchy: .*id,name,under"):
      predict(folder, photos, **options)
  with pytest.raises(ValueError, match="has no hierarchy"):
    evaluate(folder, photos, hierarchical=True)
  predict(folder, photos, report=tmp_path / "page.html")
  page = (tmp_path / "page.html").read_text()
  assert "all classes" in page and "my dog" in page and "Diverse" not in page


def test_without_a_hierarchy_the_temperature_is_calibrated(save, photos):
  folder = save(BARE)
  result = calibrate(folder, photos)
  assert result["images"] == 4 and result["temperature"] > 0
  assert (result["lambdas"], result["too_few"]) == ({}, [])
  assert "none, for the classes have no hierarchy" in calibrate_text(result)
  with pytest.raises(ValueError, match="has no hierarchy"):
    calibrate(folder, photos, accuracy=0.6)
  with pytest.raises(ValueError, match="has no hierarchy"):
    predict(folder, photos, answer="hedged")


def test_places_filled_in_later_give_hedged_answers(save, photos, tmp_path):
  folder = save(BARE)
  (folder / "classes.txt").write_text(synsets.as_text(PLACED), encoding="utf-8")
  calibrate(folder, photos)
  (first, *_) = predict(folder, photos, answer="hedged", accuracy=0.99)["predictions"]
  assert len(first["top"]) == 1
  predict(folder, photos, report=tmp_path / "page.html")
  assert "domestic dog" in (tmp_path / "page.html").read_text()


def test_places_that_were_saved_are_guarded(save):
  folder = save(PLACED)
  other = ClassList("mine", IDS, PLACED.given_names, (CAT, DOG, DOG, CAT))
  (folder / "classes.txt").write_text(synsets.as_text(other), encoding="utf-8")
  with pytest.raises(
    ValueError, match=r"classes\.txt has other names, or synsets that"
  ):
    weights.load(folder)


def test_photos_of_other_folders_are_counted_as_unknown(save, photos, tmp_path):
  csv = tmp_path / "classes.csv"
  result = evaluate(save(PLACED), photos, class_csv=csv)
  assert result["counts"] == {"photos": 6, "scored": 4, "unknown": 2, "bad": 0}
  assert result["unknown"] == {"a\tzebra": 2}
  (line,) = results.lines_about(result["unknown"], [], "counted as wrong")
  assert line.endswith("a\tzebra (2)")
  assert "my dog,my dog,2" in csv.read_text()


def test_folders_none_of_which_is_a_class_are_an_error(save, photos):
  (photos / "tom").rename(photos / "horse")
  (photos / "my dog").rename(photos / "cow")
  with pytest.raises(ValueError, match=r"none of its folders .* such as 'caf.'"):
    evaluate(save(PLACED), photos)


@pytest.mark.parametrize("classes", [BARE, PLACED])
def test_the_page_of_a_run_compares_own_classes_with_themselves(save, photos, classes):
  workdir = save(classes).parent
  (workdir / "config.json").write_text("{}")
  (workdir / "metrics.jsonl").write_text(
    '{"step": 1, "images": 4, "train_top_1": 0.5}\n'
  )
  result = report.report(workdir, data=photos)
  assert result["images"] == 4
  page = (workdir / "report.html").read_text()
  assert "Compared with the original" not in page and "2015" not in page
  assert "my dog" in page and "tom" in page


def test_packed_own_classes_say_how_to_train_on_them(photos, tmp_path):
  shutil.rmtree(photos / "a\tzebra")
  pack(photos, tmp_path / "packed", workers=1)
  loader = TrainLoader(
    tmp_path / "packed", batch_size=2, classes=synsets.get(tmp_path / "packed")
  )
  assert loader.classes.synsets == ("my dog", "tom")
  with pytest.raises(
    synsets.ClassListMismatch, match=r"--config\.classes=.*packed take"
  ):
    TrainLoader(tmp_path / "packed", batch_size=2, classes=synsets.imagenet21k())

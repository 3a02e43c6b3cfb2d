"""Temperature against the truth, and answers of `predict` that need it."""

import json

import numpy as np
import pytest

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.evaluation import calibrate
from im21k.evaluation.evaluate import evaluate, table
from im21k.inference.predict import predict, text
from im21k.packing import outcomes
from im21k.packing.pack import pack
from im21k.synsets import hierarchy

FULL = synsets.imagenet21k()
TREE = "n13104059"


@pytest.fixture
def saved(linear_weights, tmp_path):
  rng = np.random.default_rng(0)
  kernel = rng.normal(scale=1 / 300, size=(48, len(FULL))).astype(np.float32)
  bias = rng.normal(size=len(FULL)).astype(np.float32)
  linear_weights(kernel, bias, FULL).save(tmp_path / "weights")
  return tmp_path / "weights"


@pytest.fixture
def photo(sample_photos):
  return min(sample_photos.rglob("*.jpg"))


@pytest.mark.slow
def test_calibrated_weights_answer_with_what_was_found(saved, packed, photo, tmp_path):
  flat = predict(saved, photo)["predictions"][0]["top"][0]["probability"]
  result = calibrate.calibrate(
    saved, packed, split="train", images=50, plot=tmp_path / "r.png"
  )
  assert result["images"] == 50
  assert result["after"]["loss"] <= result["before"]["loss"]
  assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
  assert "temperature" in calibrate.text(result)
  found = calibration.load(saved / weights.ARRAYS)
  assert found.temperature == result["temperature"] != 1
  assert predict(saved, photo)["predictions"][0]["top"][0]["probability"] != flat
  measured = evaluate(saved, packed, split="train", devices=1, hierarchical=True)
  assert [row["asked"] for row in measured["hierarchy"]["hedged"]] == [*found.lambdas]
  assert measured["hierarchy"]["depths"][0]["accuracy"] == 1
  groups = measured["hierarchy"]["groups"]
  assert sum(group["photos"] for group in groups) == 139
  assert groups[0]["least"] == 1  # Each was trained on.
  assert "hedged for 90%" in table(measured)
  lambdas = list(found.lambdas.values())
  assert lambdas == sorted(lambdas)
  (answer,) = predict(saved, photo, answer="hedged")["predictions"][0]["top"]
  graph = hierarchy.over(FULL)
  assert answer["synset"] in graph.node
  with pytest.raises(ValueError, match=r"accuracy 0\.42 was not calibrated, only 0\.5"):
    predict(saved, photo, answer="hedged", accuracy=0.42)
  with pytest.raises(ValueError, match="calibrated over all classes"):
    predict(saved, photo, answer="hedged", only="leaves")


@pytest.mark.slow
def test_photos_that_are_not_packed_calibrate_alike(saved, packed, sample_photos):
  """All photos are those of both splits; one more is damaged, and is left out."""
  found = calibrate.calibrate(saved, sample_photos, images=50)
  assert found["images"] == 50 and found["bad"] == [] and found["unknown"] == {}
  others = calibrate.calibrate(saved, packed, split="train", images=50)
  assert found["before"] != others["before"]  # Other photos of the same.
  everything = calibrate.calibrate(saved, sample_photos, images=1000)
  assert everything["images"] == 163
  parts = [calibrate.calibrate(saved, packed, split=s) for s in ("train", "eval")]
  losses = [part["before"]["loss"] * part["images"] for part in parts]
  assert everything["before"]["loss"] == pytest.approx(sum(losses) / 163, rel=1e-5)


def test_photos_that_cannot_be_used_are_left_out_and_named(saved, tmp_path, jpeg):
  folder = tmp_path / "val"
  folder.mkdir()
  for number in range(1, 5):
    data = jpeg(number) if number < 4 else b"no photo"
    (folder / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(data)
  labels = tmp_path / "labels.txt"
  labels.write_text("n01443537\nn02121620\nn04399382\nn01443537\n")
  found = calibrate.calibrate(saved, folder, labels=labels)
  assert (found["images"], found["unknown"]) == (2, {"n04399382": 1})
  assert [row["photo"] for row in found["bad"]] == ["ILSVRC2012_val_00000004.JPEG"]
  text = calibrate.text(found)
  assert "1 photo of classes that the weights do not know, left out" in text
  assert "1 photo left out, without pixels or class" in text


def test_a_margin_hedges_more_and_names_what_it_cannot_promise(saved, packed):
  plain = calibrate.calibrate(saved, packed, split="train", images=60)
  assert plain["too_few"] == []
  safe = calibrate.calibrate(saved, packed, split="train", images=60, confidence=0.95)
  assert safe["too_few"] == [0.99]
  assert "too few photos to be so confident of accuracy 0.99" in calibrate.text(safe)
  assert all(safe["lambdas"][a] >= plain["lambdas"][a] for a in safe["lambdas"])
  assert safe["lambdas"]["0.9"] > plain["lambdas"]["0.9"]


@pytest.mark.slow
def test_photos_of_each_class_are_those_that_were_trained_on(
  saved, packed, sample_photos, tmp_path
):
  pack(sample_photos, tmp_path / "all", shards=2, workers=1)
  for how in (packed, None):
    found = evaluate(saved, packed, devices=1, hierarchical=True, trained_on=how)
    groups = found["hierarchy"]["groups"]
    assert sum(group["photos"] for group in groups) == 24
  counts = outcomes.train_photos(tmp_path / "all", FULL.synsets)
  assert counts.sum() == 163 and counts[FULL.index("n02512053")] == 26
  assert outcomes.train_photos(packed, FULL.synsets)[FULL.index("n02512053")] == 25
  how = {"eval_per_class": 1, "shards": 4, "workers": 1, "shuffle": "external"}
  pack(sample_photos, tmp_path / "external", **how)
  np.testing.assert_array_equal(
    outcomes.train_photos(tmp_path / "external", FULL.synsets),
    outcomes.train_photos(packed, FULL.synsets),
  )
  with pytest.raises(ValueError, match="for hierarchical measures only"):
    evaluate(saved, packed, devices=1, trained_on=packed)
  with pytest.raises(FileNotFoundError, match="holds no packed photos"):
    evaluate(saved, packed, devices=1, hierarchical=True, trained_on=tmp_path)
  path = tmp_path / "all" / outcomes.REPORT
  document = json.loads(path.read_text())
  path.write_text(json.dumps({**document, "train_classes": 3}))
  with pytest.raises(ValueError, match=r"report\.json is damaged"):
    outcomes.train_photos(tmp_path / "all", FULL.synsets)
  del document["train_classes"]
  path.write_text(json.dumps(document))
  with pytest.raises(ValueError, match="pack again"):
    evaluate(saved, packed, devices=1, hierarchical=True, trained_on=tmp_path / "all")


def test_hedging_without_calibration_is_refused(saved, photo):
  with pytest.raises(ValueError, match="is not calibrated"):
    predict(saved, photo, answer="hedged")
  with pytest.raises(ValueError, match="answer is 'wild'"):
    predict(saved, photo, answer="wild")


def test_diverse_answers_share_no_class(saved, photo):
  top = predict(saved, photo, answer="diverse", top_k=4)["predictions"][0]["top"]
  graph = hierarchy.over(FULL)
  below = [set(graph.below(graph.node[t["synset"]]).tolist()) for t in top]
  assert len(set().union(*below)) == sum(len(some) for some in below)
  assert len(top) == 4


def test_under_a_hypernym_the_rest_is_none_of_them(saved, photo):
  everything = predict(saved, photo, top_k=len(FULL))["predictions"][0]["top"]
  graph = hierarchy.over(FULL)
  trees = {FULL.synsets[label] for label in graph.below(graph.node[TREE])}
  mass = {t["synset"]: t["probability"] for t in everything}
  result = predict(saved, photo, under=TREE, top_k=len(FULL), definitions=True)
  (found,) = result["predictions"]
  assert {t["synset"] for t in found["top"]} == trees
  inside = sum(mass[synset] for synset in trees)
  assert found["none"] == pytest.approx(1 - inside, abs=1e-5)
  first = found["top"][0]
  assert first["probability"] == pytest.approx(mass[first["synset"]] / inside, rel=1e-4)
  assert first["definition"] == synsets.load().definition(first["synset"])
  assert "none of them" in text(result) and first["definition"] in text(result)

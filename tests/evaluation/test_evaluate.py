"""Scores of weights, against the same scores counted by hand in numpy."""

import csv
import functools
import shutil
import tarfile

import numpy as np
import pytest

from im21k import parallel, synsets, weights
from im21k.dataset.manifest import Manifest
from im21k.evaluation.evaluate import evaluate, table
from im21k.packing.pack import pack
from im21k.photos import crops, images, sources
from im21k.synsets import ClassList

GOLDFISH, CAT, TEDDY = "n01443537", "n02121620", "n04399382"
FULL = synsets.imagenet21k()
INPUT = weights.Input(size=32, short_side=37)
TWO = ClassList("two", (GOLDFISH, CAT))


def photos_of(packed, sample_photos, split, prepared):
  """What `linear` sees of a split, `[n, 48]`, and labels, from the original files."""
  keys = [photo.key for photo in sources.open(packed, split=split)]
  photos = [images.decode((sample_photos / key).read_bytes()) for key in keys]
  size, short_side = prepared.size, prepared.short_side
  squares = np.stack([crops.center_crop(p, size, short_side) for p in photos])
  tiles = squares.reshape(len(squares), 4, size // 4, 4, size // 4, 3)
  colours = tiles.mean((2, 4), dtype=np.float64).reshape(len(squares), 48)
  labels = np.array([FULL.index(key.split("/")[0]) for key in keys])
  return (colours - prepared.mean) / prepared.std, labels


@pytest.fixture(scope="module")
def prototypes(packed, sample_photos):
  """Kernel and bias with which the nearest mean photo of a class wins.

  Every class without photos is near a photo too, so that right answers are spread
  over the ranks.
  """
  features, labels = photos_of(packed, sample_photos, "train", INPUT)
  rng = np.random.default_rng(0)
  place = rng.permutation(len(features))[np.arange(len(FULL)) % len(features)]
  centre = features[place] + rng.normal(scale=60, size=(len(FULL), 48))
  for label in set(labels):
    centre[label] = features[labels == label].mean(0)
  kernel, bias = centre.T / 2000, -(centre**2).sum(1) / 4000
  return kernel.astype(np.float32), bias.astype(np.float32)


@pytest.fixture
def saved(linear_weights, prototypes, tmp_path):
  """Folder of weights that get some photos right."""
  linear_weights(*prototypes, FULL).save(tmp_path / "weights")
  return tmp_path / "weights"


@pytest.fixture(scope="module")
def by_hand(packed, sample_photos, prototypes):
  """Scores of a split, counted without im21k: a sort of all logits of each photo."""

  @functools.cache
  def count(split, allowed=None, prepared=INPUT):
    features, labels = photos_of(packed, sample_photos, split, prepared)
    kernel, bias = (array.astype(np.float64) for array in prototypes)
    logits = features @ kernel + bias
    if allowed is not None:
      kept = [label in allowed for label in labels]
      logits, labels = logits[kept], labels[kept]
      logits[:, [label for label in range(len(FULL)) if label not in allowed]] = -np.inf
    order = np.argsort(-logits, axis=1)
    place = (order == labels[:, None]).argmax(1)
    right = {f"top_{k}": np.mean(place < k) for k in (1, 5, 20)}
    own = logits[np.arange(len(labels)), labels]
    losses = np.log(np.exp(logits).sum(1)) - own
    return {"images": len(labels), "loss": losses.mean(), **right}

  return count


def assert_row(row, expected):
  assert row["images"] == expected["images"]
  for name in ("top_1", "top_5", "top_20"):
    assert row[name] == pytest.approx(expected[name], abs=1e-12), name
  assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)


ILSVRC = frozenset(
  FULL.index(s) for s in synsets.ilsvrc2012().synsets if s != "n04399382"
)


@pytest.mark.parametrize(("batch_size", "devices"), [(7, 1), (8, 4)])
def test_scores_are_exact_with_any_batch_size_and_number_of_devices(
  packed, saved, by_hand, batch_size, devices
):
  rows = evaluate(saved, packed, batch_size=batch_size, devices=devices)["rows"]
  assert [row["answers"] for row in rows] == ["all 21,841", "999 of ilsvrc2012"]
  assert_row(rows[0], by_hand("eval"))
  assert_row(rows[1], by_hand("eval", ILSVRC))


def test_train_split_is_scored_on_request(packed, saved, by_hand):
  rows = evaluate(saved, packed, split="train", devices=2)["rows"]
  assert rows[0]["images"] == Manifest.load(packed).count("train")
  assert_row(rows[0], by_hand("train"))
  assert_row(rows[1], by_hand("train", ILSVRC))


@pytest.mark.parametrize("split", ["eval", "train"])
def test_scores_of_the_fixture_differ_between_ranks_and_rows(by_hand, split):
  """Else the tests around could not tell one score from another."""
  full, restricted = by_hand(split), by_hand(split, ILSVRC)
  assert 0 < restricted["images"] < full["images"]
  assert 0 < full["top_1"] < full["top_5"] < full["top_20"] < 1
  for name in ("top_1", "top_5", "top_20"):
    assert full[name] != restricted[name]


def test_size_crop_and_normalisation_come_from_the_weights(
  packed, linear_weights, prototypes, by_hand, tmp_path
):
  prepared = weights.Input(size=16, short_side=24, mean=100.0, std=2.0)
  linear_weights(*prototypes, FULL, input=prepared).save(tmp_path)
  (row, _) = evaluate(tmp_path, packed, devices=4)["rows"]
  assert_row(row, by_hand("eval", prepared=prepared))
  assert row["loss"] != pytest.approx(by_hand("eval")["loss"], rel=0.01)


def test_equal_logits_earn_nothing(packed, linear_weights, tmp_path):
  nothing = np.zeros((48, len(FULL)), np.float32), np.zeros(len(FULL), np.float32)
  linear_weights(*nothing, FULL).save(tmp_path)
  rows = evaluate(tmp_path, packed, devices=4)["rows"]
  for row, classes in zip(rows, (21841, 999), strict=True):
    assert row["top_1"] == row["top_5"] == row["top_20"] == 0
    assert row["loss"] == pytest.approx(np.log(classes), rel=1e-5)


def test_by_default_all_devices_take_part(few, monkeypatch):
  used, real = [], parallel.eval_step
  monkeypatch.setattr(
    parallel, "eval_step", lambda step, on: used.extend(on) or real(step, on)
  )
  evaluate(*few([CAT], TWO), split="train", batch_size=8)
  assert len(used) == 4


def counted(rows):
  return [(row["answers"], row["images"], row["top_1"], row["top_20"]) for row in rows]


def test_photos_of_a_pack_with_another_class_list_are_relabelled(
  packed, saved, linear_weights, prototypes, tmp_path
):
  kernel, bias = prototypes
  turned = ClassList("turned", FULL.synsets[::-1])
  linear_weights(kernel[:, ::-1], bias[::-1], turned).save(tmp_path / "turned")
  found = [evaluate(w, packed, devices=4)["rows"] for w in (saved, tmp_path / "turned")]
  assert counted(found[0]) == counted(found[1])


def test_class_folders_score_as_packed_photos(packed, saved, sample_photos, by_hand):
  """All photos: those of both splits together, with the same crops."""
  rows = evaluate(saved, sample_photos, devices=4)["rows"]
  for row, allowed in zip(rows, (None, ILSVRC), strict=True):
    parts = [by_hand(split, allowed) for split in ("train", "eval")]
    assert row["images"] == sum(part["images"] for part in parts)
    for name in ("top_1", "top_5", "top_20"):
      right = sum(part[name] * part["images"] for part in parts)
      assert row[name] == pytest.approx(right / row["images"], abs=1e-12)


@pytest.mark.slow
def test_mirror_images_and_crops_take_part(packed, sample_photos, saved, prototypes):
  """Against logits of both images and another crop, computed in numpy."""
  prepared = weights.Input(size=32, short_side=40)  # 0.8 of the short side
  kernel, bias = prototypes
  features, labels = photos_of(packed, sample_photos, "eval", prepared)
  mirrored = features.reshape(-1, 4, 4, 3)[:, :, ::-1].reshape(-1, 48)
  logits = ((features + mirrored) / 2) @ kernel.astype(np.float64) + bias
  own = logits[np.arange(len(labels)), labels]
  place = (logits > own[:, None]).sum(1)
  row = evaluate(saved, packed, devices=4, crop_fraction=0.8, flip=True)["rows"][0]
  assert (row["crop_fraction"], row["flip"]) == (0.8, True)
  for k in (1, 5, 20):
    assert row[f"top_{k}"] == np.mean(place < k)
  losses = np.log(np.exp(logits).sum(1)) - own
  assert row["loss"] == pytest.approx(losses.mean(), rel=1e-4)
  plain = evaluate(saved, packed, devices=4)["rows"][0]
  assert plain["loss"] != pytest.approx(row["loss"], rel=1e-3)


# ILSVRC2012's validation photos.


@pytest.fixture
def validation(sample_photos, tmp_path):
  """Six photos named as those of ILSVRC2012, of which the third is no JPEG."""
  folder = tmp_path / "val"
  folder.mkdir()
  photos = sorted((sample_photos / GOLDFISH).glob("*.jpg"))
  for number in range(1, 7):
    path = folder / f"ILSVRC2012_val_{number:08}.JPEG"
    shutil.copy(photos[number % len(photos)], path)
  (folder / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"GIF89a")
  labels = tmp_path / "labels.txt"
  labels.write_text("\n".join([GOLDFISH, TEDDY, GOLDFISH, CAT, GOLDFISH, TEDDY]) + "\n")
  return folder, labels


def always(classes, synset):
  """Kernel and bias of a net that answers one class first, and then in their order."""
  bias = -np.arange(len(classes), dtype=np.float32)
  bias[classes.index(synset)] = 1
  return np.zeros((48, len(classes)), np.float32), bias


@pytest.mark.parametrize("devices", [1, 4])
def test_missing_class_is_wrong_and_reported(
  validation, linear_weights, tmp_path, monkeypatch, devices
):
  monkeypatch.setattr("im21k.evaluation.accuracy.VALIDATION_PHOTOS", 6)
  linear_weights(*always(FULL, GOLDFISH), FULL).save(tmp_path / "w")
  folder, labels = validation
  result = evaluate(
    tmp_path / "w", folder, labels=labels, devices=devices, batch_size=4,
    class_csv=tmp_path / "classes.csv",
  )  # fmt: skip
  assert counted(result["rows"]) == [
    ("all 21,841", 5, 2 / 5, 2 / 5),
    ("999 of ilsvrc2012", 4, 2 / 4, 2 / 4),
  ]
  assert [(row["unknown"], row["bad"]) for row in result["rows"]] == [(2, 1), (2, 1)]
  assert result["unknown"] == {TEDDY: 2}
  assert result["counts"] == {"photos": 6, "scored": 3, "unknown": 2, "bad": 1}
  assert "failed" not in result
  (bad,) = result["bad"]
  assert bad["photo"] == "ILSVRC2012_val_00000003.JPEG"
  assert bad["reason"].endswith("it begins with b'GIF89a'")
  assert result["original"] == {
    "all 21,841": (41.9, 69.6, 83.6),
    "999 of ilsvrc2012": (68.3, 89.0, 96.0),
  }
  text = table(result)
  assert "  the original, 2015                   68.3 %      89.0 %      96.0 %" in text
  assert "2 photos of classes that the weights do not know" in text
  assert "1 photo left out, without pixels or class: ILSVRC2012_val_00000003" in text
  lines = (tmp_path / "classes.csv").read_text().splitlines()
  assert lines == [
    "answers,synset,name,photos,top_1,top_5,top_20",
    '"all 21,841",n01443537,"goldfish, Carassius auratus",2,1.0,1.0,1.0',
    '"all 21,841",n02121620,"cat, true cat",1,0.0,0.0,0.0',
    '"all 21,841",n04399382,"teddy, teddy bear",2,0.0,0.0,0.0',
    '999 of ilsvrc2012,n01443537,"goldfish, Carassius auratus",2,1.0,1.0,1.0',
    '999 of ilsvrc2012,n04399382,"teddy, teddy bear",2,0.0,0.0,0.0',
  ]


def test_no_comparison_with_the_original_where_it_makes_no_sense(
  validation, linear_weights, tmp_path, monkeypatch
):
  folder, labels = validation
  linear_weights(*always(FULL, GOLDFISH), FULL).save(tmp_path / "w")
  few_photos = evaluate(tmp_path / "w", folder, labels=labels, batch_size=4)
  monkeypatch.setattr("im21k.evaluation.accuracy.VALIDATION_PHOTOS", 6)
  thousand = synsets.ilsvrc2012()
  linear_weights(*always(thousand, GOLDFISH), thousand).save(tmp_path / "k")
  other_classes = evaluate(tmp_path / "k", folder, labels=labels, batch_size=4)
  assert few_photos["original"] == other_classes["original"] == {}
  # The weights know teddy bear, but no cat.
  assert counted(other_classes["rows"]) == [
    ("all 1,000", 5, 2 / 5, 2 / 5),
    ("1,000 of ilsvrc2012", 4, 2 / 4, 2 / 4),
  ]
  assert other_classes["unknown"] == {CAT: 1}


def test_photos_of_which_none_can_be_decoded(linear_weights, tmp_path):
  linear_weights(*always(TWO, CAT), TWO).save(tmp_path / "w")
  (tmp_path / "photos" / CAT).mkdir(parents=True)
  (tmp_path / "photos" / CAT / "a.jpg").write_bytes(b"")
  with pytest.raises(
    ValueError, match=r"1 photo can be scored \(n02121620/a.jpg: no b"
  ):
    evaluate(tmp_path / "w", tmp_path / "photos", batch_size=4)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.1, float("nan")])
def test_crop_fraction_that_cannot_be(packed, saved, fraction):
  with pytest.raises(
    ValueError, match=r"crop_fraction is .*, but must be from 0.03125"
  ):
    evaluate(saved, packed, crop_fraction=fraction)


# Which rows there are.


@pytest.fixture
def few(sample_photos, tmp_path, linear_weights):
  """Packs photos of some classes, and saves weights for a list of classes."""

  def make(photos, classes):
    for synset in photos:
      shutil.copytree(sample_photos / synset, tmp_path / "photos" / synset)
    ids = tmp_path / f"{classes.name}.txt"
    ids.write_text("\n".join(classes.synsets))
    pack(tmp_path / "photos", tmp_path / "packed", classes=str(ids), workers=1)
    arrays = (
      np.zeros((48, len(classes)), np.float32),
      np.zeros(len(classes), np.float32),
    )
    linear_weights(*arrays, classes).save(tmp_path / "weights")
    return tmp_path / "weights", tmp_path / "packed"

  return make


def answers(result):
  return [row["answers"] for row in result["rows"]]


def test_photo_outside_the_thousand_counts_in_the_first_row_only(few):
  assert GOLDFISH in synsets.ilsvrc2012().synsets
  assert CAT not in synsets.ilsvrc2012().synsets
  rows = evaluate(*few([GOLDFISH, CAT], TWO), split="train", batch_size=4)["rows"]
  assert [(row["answers"], row["images"]) for row in rows] == [
    ("all 2", 2),
    ("1 of ilsvrc2012", 1),
  ]
  # Two equal logits; of the one answer that the second row allows, all are right.
  assert [row["top_1"] for row in rows] == [0, 1]
  assert rows[1]["loss"] == 0


def test_weights_for_the_thousand_have_one_row(few):
  found = evaluate(*few([GOLDFISH], synsets.ilsvrc2012()), split="train", batch_size=4)
  assert answers(found) == ["all 1,000"]


def test_weights_that_know_none_of_the_thousand_have_one_row(few):
  found = evaluate(*few([CAT], ClassList("cat", (CAT,))), split="train", batch_size=4)
  assert answers(found) == ["all 1"]


def test_row_without_photos_is_left_out(few):
  found = evaluate(*few([CAT], TWO), split="train", batch_size=4)
  assert answers(found) == ["all 2"]


def test_an_archive_without_order_is_refused_before_anything_is_scored(few, tmp_path):
  folder, photos = few([CAT], TWO)
  with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
    file.add(photos.with_name("photos"), "photos")
  with pytest.raises(ValueError, match="cannot be taken in another order"):
    evaluate(folder, tmp_path / "a.tar.gz", batch_size=4, hierarchical=True)
  assert not (folder / "evaluation.csv").exists()


# The CSV and the table.


def as_text(row):
  return {key: "" if value is None else str(value) for key, value in row.items()}


def test_rows_of_an_older_csv_keep_their_values(few):
  folder, photos = few([CAT], TWO)
  (folder / "evaluation.csv").write_text("date,top_1,note\n2020,0.5,mine\n")
  (row,) = evaluate(folder, photos, split="train", batch_size=4)["rows"]
  old, new = csv.DictReader((folder / "evaluation.csv").read_text().splitlines())
  assert (old["date"], old["top_1"], old["note"]) == ("2020", "0.5", "mine")
  assert new == {**as_text(row), "note": ""}


def test_rows_are_appended_to_the_csv_under_one_header(few):
  folder, photos = few([GOLDFISH, CAT], TWO)
  first = evaluate(folder, photos, split="train", batch_size=4)["rows"]
  second = evaluate(folder, photos, split="train", batch_size=4, devices=2)["rows"]
  lines = (folder / "evaluation.csv").read_text().splitlines()
  assert lines[0] == (
    "date,weights,data,split,crop_fraction,flip,answers,images,top_1,top_5,top_20,loss,"
    "top_1_low,top_1_high,top_5_low,top_5_high,top_20_low,top_20_high,unknown,bad"
  )
  found = list(csv.DictReader(lines))
  assert found == [as_text(row) for row in [*first, *second]]
  assert (len(found), found[0]["split"]) == (4, "train")
  assert (found[0]["weights"], found[0]["data"]) == (str(folder), str(photos))


def test_csv_may_be_another_file(few, tmp_path):
  folder, photos = few([CAT], TWO)
  path = tmp_path / "results" / "all.csv"
  evaluate(folder, photos, split="train", batch_size=4, csv_file=path)
  assert len(path.read_text().splitlines()) == 2
  assert not (folder / "evaluation.csv").exists()


def test_table_is_aligned():
  bounds = {f"top_{k}_{side}": 0.5 for k in (1, 5, 20) for side in ("low", "high")}
  row = {"answers": "all 21,841", "images": 1234567, "top_1": 0.37156, "top_5": 0.6}
  other = {"answers": "999 of ilsvrc2012", "images": 40, "top_1": 0.0, "top_5": 1.0}
  result = {
    "rows": [{**bounds, **row, "top_20": 0.8}, {**bounds, **other, "top_20": 1.0}],
    "counts": {"photos": 1235807, "scored": 1234567, "unknown": 1234, "bad": 6},
    "unknown": {"n04399382": 1234},
    "bad": [{"photo": f"{i}.JPEG", "reason": "no bytes"} for i in range(6)],
    "original": {"all 21,841": (41.9, 69.6, 83.6)},
  }
  assert table(result) == (
    "answers among              photos       top-1       top-5      top-20\n"
    "all 21,841              1,234,567      37.16%      60.00%      80.00%\n"
    "  95 % interval                     50.0–50.0   50.0–50.0   50.0–50.0\n"
    "  the original, 2015                   41.9 %      69.6 %      83.6 %\n"
    "999 of ilsvrc2012              40       0.00%     100.00%     100.00%\n"
    "  95 % interval                     50.0–50.0   50.0–50.0   50.0–50.0\n"
    "1,235,807 photos: 1,234,567 scored, 1,234 of unknown classes, 6 unreadable or "
    "without class\n"
    "1,234 photos of classes that the weights do not know, counted as wrong: n04399382 "
    "teddy, teddy bear (1,234)\n"
    "6 photos left out, without pixels or class: 0.JPEG (no bytes); 1.JPEG (no bytes)"
    "; 2.JPEG (no bytes); 3.JPEG (no bytes); 4.JPEG (no bytes); …"
  )


# What cannot be evaluated.


def test_missing_weights_are_named(packed, tmp_path):
  with pytest.raises(FileNotFoundError, match="nowhere holds no weights"):
    evaluate(tmp_path / "nowhere", packed)


def test_missing_photos_are_named(saved, tmp_path):
  with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
    evaluate(saved, tmp_path / "nowhere")


def test_a_split_that_is_not_there_names_those_that_are(few):
  with pytest.raises(ValueError, match=r"no 'eval' photos, only train .*--eval-fract"):
    evaluate(*few([CAT], TWO), split="eval")


def test_the_only_split_is_scored_and_named(few, capsys):
  found = evaluate(*few([CAT], TWO), batch_size=8)
  assert [row["split"] for row in found["rows"]] == ["train"]
  assert "its only one, train, is used" in capsys.readouterr().err


def test_truncated_shard_is_named(packed, saved, tmp_path):
  copy = shutil.copytree(packed, tmp_path / "copy")
  shard = min(copy.glob("eval-*"))
  shard.write_bytes(shard.read_bytes()[:-1])
  with pytest.raises(ValueError, match=f"shard .*{shard.name} has"):
    evaluate(saved, copy)


@pytest.mark.parametrize(
  ("devices", "message"),
  [
    (0, "devices is 0, but must be at least 1"),
    (-1, "devices is -1, but must be at least 1"),
    (5, "devices is 5, but this machine has 4"),
    (3, "batch_size 64 is not divisible by the 3 devices: use 63"),
  ],
)
def test_devices_that_cannot_be_say_why(packed, saved, devices, message):
  with pytest.raises(ValueError, match=message):
    evaluate(saved, packed, devices=devices)


def test_an_archive_scores_as_the_folder(photos, linear_weights, tmp_path):
  root = photos({GOLDFISH: 3, CAT: 2, "n00007846": 1})
  with tarfile.open(tmp_path / "photos.tar", "w") as tar:
    for path in sorted(root.glob("*/*")):
      tar.add(path, str(path.relative_to(root)))
  linear_weights(*always(TWO, GOLDFISH), TWO).save(tmp_path / "w")
  results = [
    evaluate(tmp_path / "w", where, batch_size=4)
    for where in (root, tmp_path / "photos.tar")
  ]
  folder, archive = (
    [{k: v for k, v in row.items() if k not in ("date", "data")} for row in r["rows"]]
    for r in results
  )
  assert folder == archive and folder[0]["images"] == 6
  assert results[0]["unknown"] == results[1]["unknown"] == {"n00007846": 1}

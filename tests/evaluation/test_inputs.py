"""Options of verbs -> photos and devices, the same for every verb that measures."""

import inspect
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from im21k import weights
from im21k.evaluation import inputs
from im21k.evaluation.calibrate import calibrate
from im21k.evaluation.evaluate import evaluate
from im21k.evaluation.recalibrate import recalibrate
from im21k.packing.pack import pack
from im21k.photos import crops, images

GOLDFISH, CAT = "n01443537", "n02121620"


def keys(photos):
  return [photo.key for photo in photos]


def test_photos_that_are_not_packed_are_shuffled_the_same_way_each_time(photos):
  root = photos({GOLDFISH: 30, CAT: 30})
  in_order = keys(inputs.open_photos(root, "eval"))
  shuffled = keys(inputs.open_shuffled(root, "eval"))
  assert sorted(shuffled) == sorted(in_order) and shuffled != in_order
  assert shuffled == keys(inputs.open_shuffled(root, "eval"))
  # The first half is a fair sample: no class by class.
  assert 5 < sum(key.startswith(CAT) for key in shuffled[:30]) < 25


def test_packed_photos_keep_their_order(photos, tmp_path):
  pack(photos({GOLDFISH: 9, CAT: 9}), tmp_path / "out", eval_per_class=2, workers=1)
  for split, count in (("train", 14), ("eval", 4)):
    opened = inputs.open_shuffled(tmp_path / "out", split)
    assert keys(opened) == keys(inputs.open_photos(tmp_path / "out", split))
    assert opened.count == count


def test_a_square_is_the_centre_crop_that_is_scored(photos):
  root = photos({CAT: 1})
  (photo,) = inputs.open_photos(root, "eval")
  pixels = images.decode((root / photo.key).read_bytes())
  found = inputs.square(photo, weights.Input(size=8, short_side=10))
  np.testing.assert_array_equal(found, crops.center_crop(pixels, 8, 10))


def test_the_only_split_is_taken_where_none_is_asked_for(photos, tmp_path, capsys):
  pack(photos({CAT: 4}, "a"), tmp_path / "one", workers=1)
  assert inputs.split_for(tmp_path / "one", None, "eval") == "train"
  assert capsys.readouterr().err == (
    f"im21k: {tmp_path / 'one'} has no split eval: its only one, train, is used\n"
  )
  assert inputs.split_for(tmp_path / "one", None, "train") == "train"
  with pytest.raises(ValueError, match="has no 'eval' photos, only train"):
    inputs.split_for(tmp_path / "one", "eval", "eval")
  pack(photos({CAT: 4}, "b"), tmp_path / "both", workers=1, eval_per_class=1)
  assert inputs.split_for(tmp_path / "both", None, "eval") == "eval"
  assert not capsys.readouterr().err


def test_of_imagenet_as_downloaded_the_validation_photos_are_measured(
  photos, ilsvrc2012_like, tmp_path, capsys
):
  made = ilsvrc2012_like.make(photos({GOLDFISH: 4, CAT: 3}), tmp_path / "downloads")
  assert inputs.split_for(made.folder, None, "eval") == "eval"
  assert inputs.split_for(made.folder, "train", "eval") == "train"
  val = keys(inputs.open_photos(made.folder, "eval"))
  assert val == ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"]
  assert len(keys(inputs.open_photos(made.folder, "train"))) == 5
  assert not capsys.readouterr().err
  (made.folder / "ILSVRC2012_img_train.tar").unlink()
  assert inputs.split_for(made.folder, None, "train") == "eval"
  assert "its only one, eval, is used" in capsys.readouterr().err


def test_a_set_of_held_out_photos_alone_is_taken_by_all(photos, tmp_path, capsys):
  """Also by what usually takes the train split."""
  pack(photos({CAT: 4}), tmp_path / "out", workers=1, eval_per_class=1)
  path = tmp_path / "out" / "manifest.json"
  document = json.loads(path.read_text())
  for left in ({"count": 0, "bytes": 0, "shards": []}, None):
    document["splits"]["train"] = left
    if left is None:
      del document["splits"]["train"]
    path.write_text(json.dumps(document))
    assert inputs.split_for(tmp_path / "out", None, "train") == "eval"
    assert "its only one, eval, is used" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("splits", "usual", "chosen"),
  [
    (["train"], "eval", "train"),
    (["validation"], "train", "eval"),
    (["train", "validation"], "eval", "eval"),
    (["test"], "eval", "eval"),
    (None, "eval", "eval"),
  ],
)
def test_photos_that_tfds_prepared_may_have_one_split(tmp_path, splits, usual, chosen):
  document = splits and {"splits": [{"name": name} for name in splits]}
  (tmp_path / "dataset_info.json").write_text(json.dumps(document))
  assert inputs.split_for(tmp_path, None, usual) == chosen
  assert inputs.split_for(tmp_path, "train", "eval") == "train"


@pytest.mark.parametrize("option", ["data", "labels", "split", "weights_dir"])
def test_all_verbs_describe_photos_in_the_same_words(option):
  texts = set()
  for verb in (evaluate, calibrate, recalibrate):
    text = re.search(
      rf"^  {option}: ((?:.+\n)(?:    .+\n)*)", inspect.getdoc(verb), re.M
    )
    texts.add(" ".join(text[1].split()))
  assert len(texts) == 1


def test_fresh_process_gets_as_many_cpu_devices_as_are_asked_for():
  code = (
    "from im21k.evaluation.inputs import devices_for; import jax; "
    "print(len(devices_for(3)), jax.local_device_count())"
  )
  run = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    check=True,
  )
  assert run.stdout == "3 3\n"

"""How much a config trains on: by its own photos where they are at hand."""

import dataclasses
import shutil

import pytest

from im21k.dataset.manifest import Manifest
from im21k.planning import workload
from im21k.training import configs


def config(**settings):
  return configs.load(
    "demo", {key.replace("__", "."): v for key, v in settings.items()}
  )


def test_epochs_are_of_the_photos_that_are_packed(packed):
  experiment = config(data=str(packed), total={"epochs": 3}, batch_size=8, devices=4)
  photos = Manifest.load(packed).count("train")
  found = workload.find(experiment)
  assert (found.photos, found.source) == (photos, str(packed))
  # Whole steps of 4 x 2 examples, as training takes them.
  assert found.examples(experiment, 2) == round(3 * photos / 8) * 8
  assert found.examples(experiment, 20) == round(3 * photos / 80) * 80


@pytest.mark.parametrize(
  ("classes", "photos"), [("imagenet21k", 14_197_087), ("ilsvrc2012", 1_281_167)]
)
def test_without_packed_photos_the_number_is_that_of_the_data_set(classes, photos):
  experiment = config(data="nowhere", classes=classes)
  found = workload.find(experiment)
  assert found.photos == photos and found.source.endswith(
    "nowhere holds no packed photos"
  )


def test_steps_and_examples_need_no_photos(tmp_path):
  (tmp_path / "manifest.json").write_text("not read")
  steps = config(data=str(tmp_path), total={"steps": 10}, devices=4)
  assert workload.find(steps) == workload.Workload(None, "")
  assert workload.find(steps).examples(steps, 16) == 640
  examples = config(data=str(tmp_path), total={"examples": 1000}, devices=4)
  assert workload.find(examples).examples(examples, 5) == 1000


def test_a_damaged_or_empty_manifest_is_an_error(packed, tmp_path):
  (tmp_path / "manifest.json").write_text("{")
  with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
    workload.find(config(data=str(tmp_path)))
  manifest = Manifest.load(packed)
  shutil.copy(packed / "classes.txt", tmp_path)
  for splits in ({}, {"train": ()}, {"eval": manifest.splits["train"]}):
    dataclasses.replace(manifest, splits=splits).save(tmp_path)
    with pytest.raises(ValueError, match="no photos in the split train"):
      workload.find(config(data=str(tmp_path)))


@pytest.mark.parametrize(
  ("total", "text"),
  [
    ({"epochs": 9}, "9 epochs"),
    ({"epochs": 1}, "1 epoch"),
    ({"epochs": 0.25}, "0.25 epochs"),
    ({"steps": 10_000}, "10,000 steps"),
    ({"examples": 1e6}, "1,000,000 examples"),
  ],
)
def test_the_duration_in_words(total, text):
  assert workload.total(config(total=total)) == text

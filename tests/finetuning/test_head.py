"""The head that is fitted: of which photos, and what is said of it."""

import numpy as np
import pytest

from im21k import parallel, synsets
from im21k.finetuning import head
from im21k.packing.pack import pack


@pytest.fixture
def data(photos, tmp_path):
  pack(photos, tmp_path / "packed", classes="folders", workers=1)
  return tmp_path / "packed"


def fitted(released, data):
  classes = synsets.get(str(data))
  on = parallel.devices(1)
  made = head.fitted(released, classes, data, devices=on, batch_size=8)
  return made, made.config["head"]


def test_all_photos_are_used_and_the_trunk_is_that_of_before(released, data):
  made, about = fitted(released, data)
  assert about["photos"] == 30 and about["bad"] == 0 and about["l2"] > 0
  assert made.variables["params"]["layer"] is released.variables["params"]["layer"]
  assert made.variables["params"]["head"]["kernel"].dtype == np.float32
  assert made.classes.synsets == ("Café", "my dog", "red car")


def test_of_too_many_photos_the_first_are_used_and_it_is_said(
  released, data, monkeypatch, capsys
):
  monkeypatch.setattr(head, "MOST", 20)
  _, about = fitted(released, data)
  assert about["photos"] == 20
  said = capsys.readouterr().err
  assert "the head is fitted to the features of the first 20 photos" in said


def test_classes_without_photos_are_counted_and_never_answered(
  released, photos, data, tmp_path
):
  listed = tmp_path / "list.csv"
  listed.write_text("id\nCafé\nmy dog\nred car\nempty\n")
  pack(photos, tmp_path / "four", classes=str(listed), workers=1)
  made, about = fitted(released, tmp_path / "four")
  assert about["empty"] == 1
  assert made.variables["params"]["head"]["bias"][3] == -1e4
  classes = synsets.get(str(tmp_path / "four"))
  start = head.fitted(
    released, classes, tmp_path / "four", devices=parallel.devices(1), batch_size=8,
    is_start=True,
  )  # fmt: skip
  bias = start.variables["params"]["head"]["bias"]
  assert bias[3] == bias[:3].min()

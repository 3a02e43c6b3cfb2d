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
  return head.fitted(released, classes, data, devices=on, batch_size=8)


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

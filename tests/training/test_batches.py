"""Batches of all phases are one stream: no photo twice, none left out."""

import multiprocessing

import numpy as np
import pytest

from im21k.loading.train import TrainLoader
from im21k.training import course as courses
from im21k.training.batches import Batches
from im21k.training.durations import Durations

# Steps 0 to 2 of 4 photos, 3 and 4 of 8, then of 2: phases begin at examples 12 and 28.
COURSE = courses.of([(16, 4), (24, 8), (32, 2)], Durations((3, 5), "steps"), 100)
ENDS = {0: (16, 4), 12: (24, 8), 28: (32, 2)}


def loaders(packed, **options):
  options = {"workers": 0, "threads": 1, **options}
  return [
    TrainLoader(packed, batch_size=one.batch_size, image_size=one.image_size, **options)
    for one in COURSE.phases
  ]


@pytest.mark.parametrize("start", [0, 4, 8, 12, 20, 28, 30])
def test_from_any_batch_on_they_are_the_examples_of_their_phase(packed, start):
  made = loaders(packed)
  batches = Batches(made, COURSE, start, None)
  assert batches.position == start
  example = start
  while example < 34:
    phase = sum(example >= end for end in (12, 28))
    batch = next(batches)
    side, count = ENDS[(0, 12, 28)[phase]]
    assert batch["image"].shape == (1, count, side, side, 3)
    for offset in range(count):
      expected = made[phase][example + offset]
      np.testing.assert_array_equal(batch["image"][0, offset], expected["image"])
      assert batch["label"][0, offset] == expected["label"]
    example += count
    assert batches.position == example
  batches.close()
  assert list(batches) == []


def test_the_order_of_photos_is_that_without_phases(packed):
  plain = TrainLoader(packed, batch_size=1, image_size=16)
  batches = Batches(loaders(packed), COURSE, 0, None)
  labels = np.concatenate([next(batches)["label"].ravel() for _ in range(8)])
  batches.close()
  assert labels.tolist() == [int(plain[i]["label"]) for i in range(len(labels))]


def test_replaced_photos_are_counted_over_all_phases(packed, monkeypatch):
  original = TrainLoader.batch

  def batch(self, first, times=None):
    made = original(self, first, times)
    made["bad"] = np.full_like(made["bad"], first)  # A record of its own in each batch.
    return made

  monkeypatch.setattr(TrainLoader, "batch", batch)
  batches = Batches(loaders(packed, max_bad_share=1.0), COURSE, 4, None)
  for _ in range(5):
    next(batches)
  assert batches.bad == {4, 8, 12, 20, 28}
  batches.close()
  strict = Batches(loaders(packed, max_bad_share=0.02), COURSE, 4, None)
  with pytest.raises(ValueError, match="photos cannot be used"):
    for _ in range(5):
      next(strict)
  assert strict.position == 12, "two bad photos of 139 pass, the third one does not"
  strict.close()


@pytest.mark.slow
def test_worker_processes_end_with_their_phase(packed):
  batches = Batches(loaders(packed, workers=1), COURSE, 8, None)
  seen = [next(batches)["image"].shape[1] for _ in range(4)]
  batches.close()
  assert seen == [4, 8, 8, 2]
  assert not multiprocessing.active_children()

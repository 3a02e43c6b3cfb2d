"""Counts and intervals, by hand."""

import math

import numpy as np
import pytest

from im21k.evaluation.accuracy import Scores, wilson
from im21k.loading.scoring import Item
from im21k.synsets import ClassList

GOLDFISH, CAT = "n01443537", "n02121620"
TWO = ClassList("two", (GOLDFISH, CAT))


def test_batches_add_up_and_each_photo_counts_once():
  scores = Scores(TWO, {"all 2": None})
  first = [Item("a", GOLDFISH, 0, None), Item("b", CAT, 1, "damaged")]
  scores.add(first, {"all 2": {"rank": [0, 0], "loss": [0.5, 9.0]}})
  # A third rank is that of an image that fills up the batch.
  second = [Item("c", CAT, 1, None), Item("d", "n04399382", None, None)]
  scores.add(second, {"all 2": {"rank": [4, 0, 0], "loss": [1.5, 9.0, 9.0]}})
  (row,) = scores.rows()
  low, high = wilson(1, 3)
  assert row == {
    "answers": "all 2", "images": 3, "top_1": 1 / 3, "top_5": 2 / 3, "top_20": 2 / 3,
    "loss": 1.0, "top_1_low": low, "top_1_high": high,
    "top_5_low": wilson(2, 3)[0], "top_5_high": wilson(2, 3)[1],
    "top_20_low": wilson(2, 3)[0], "top_20_high": wilson(2, 3)[1],
    "unknown": 1, "bad": 1,
  }  # fmt: skip
  assert scores.bad == [("b", "damaged", None)] and scores.unknown == {"n04399382": 1}
  assert scores.counts() == {"photos": 4, "scored": 2, "unknown": 1, "bad": 1}
  assert not scores.is_validation
  assert [(row["synset"], row["photos"]) for row in scores.class_rows()] == [
    (GOLDFISH, 1),
    (CAT, 1),
    ("n04399382", 1),
  ]


def test_photos_of_unknown_classes_alone_have_no_loss():
  scores = Scores(TWO, {"all 2": None})
  scores.add([Item("a", "n04399382", None, None)], {})
  (row,) = scores.rows()
  assert (row["images"], row["top_20"], row["loss"]) == (1, 0, None)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (3, 10), (10, 10), (683, 1000)])
def test_wilsons_interval_holds_the_shares_that_the_count_does_not_refute(right, count):
  """Its ends are where the distance to the share is 1.96 standard deviations."""
  low, high = wilson(right, count)
  assert 0 <= low <= right / count <= high <= 1
  for end in (low, high):
    if 0 < end < 1:
      deviation = np.sqrt(end * (1 - end) / count)
      assert abs(right / count - end) / deviation == pytest.approx(1.959964, rel=1e-6)


def test_wilsons_interval_is_that_of_the_formula():
  z = 1.959963984540054
  right, count = 37, 139
  share = right / count
  middle = share + z * z / (2 * count)
  half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
  exact = [(middle + sign * half) / (1 + z * z / count) for sign in (-1, 1)]
  np.testing.assert_allclose(wilson(right, count), exact, rtol=1e-12)
  assert all(type(end) is float for end in wilson(right, count))

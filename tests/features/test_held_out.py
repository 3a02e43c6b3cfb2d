"""Photos held out of each class alike."""

import numpy as np
import pytest

from im21k.features import held_out

LABELS = np.repeat([0, 3, 4, 9], [10, 2, 1, 25])


@pytest.mark.parametrize(
  ("share", "expected"),
  [(0.2, [2, 1, 0, 5]), (0.01, [1, 1, 0, 1]), (0.99, [9, 1, 0, 24])],
)
def test_a_share_of_each_class_is_taken_and_never_all(share, expected):
  taken = held_out.share_of_each(LABELS, share)
  assert [int(taken[label == LABELS].sum()) for label in (0, 3, 4, 9)] == expected


def test_so_many_of_each_are_taken_the_same_for_a_seed():
  taken = held_out.number_of_each(LABELS, 3, seed=1)
  assert [int(taken[label == LABELS].sum()) for label in (0, 3, 4, 9)] == [3, 1, 0, 3]
  assert (taken == held_out.number_of_each(LABELS, 3, seed=1)).all()
  assert (taken != held_out.number_of_each(LABELS, 3, seed=2)).any()

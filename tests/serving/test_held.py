"""What is held is bounded, the oldest goes first, and nobody guesses its name."""

import numpy as np

from im21k.serving.held import Held


def test_the_latest_are_held():
  held = Held(most_bytes=3 * 40)
  rows = np.arange(50, dtype=np.float32).reshape(5, 10)
  ids = [held.add(row) for row in rows[:3]]
  np.testing.assert_array_equal(held.get(ids[0]), rows[0])
  ids += [held.add(row) for row in rows[3:]]
  # The first was asked for since the second and the third came.
  kept = [held.get(one) is not None for one in ids]
  assert kept == [True, False, False, True, True]
  assert len(set(ids)) == 5 and all(len(one) >= 16 for one in ids)
  assert held.get("") is None


def test_a_row_does_not_hold_its_batch():
  held = Held()
  batch = np.zeros((8, 10), np.float32)
  assert held.get(held.add(batch[0])).base is None


def test_one_is_held_however_large():
  held = Held(most_bytes=1)
  one = held.add(np.zeros(10, np.float32))
  assert held.get(one) is not None

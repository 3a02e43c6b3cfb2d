"""Marks of axes: round, within the axis, few; numbers as people write them."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.pages import ticks


@given(st.floats(-1e6, 1e12), st.floats(1e-9, 1e12), st.integers(2, 8))
def test_ticks_are_round_and_within_the_axis(low, length, most):
  high = low + length
  if high - low < 1e-6 * max(abs(low), abs(high)):
    return  # Closer than the numbers are exact.
  found = ticks.ticks(low, high, most)
  assert len(found) <= most
  slack = 1e-6 * (high - low)
  assert all(low - slack <= one <= high + slack for one in found)
  steps = [b - a for a, b in itertools.pairwise(found)]
  for step in steps:
    assert math.isclose(step, steps[0], rel_tol=1e-6)
    digits = f"{step:.3e}".partition("e")[0]
    assert float(digits) in (1, 2, 5)


@pytest.mark.parametrize(
  ("low", "high", "expected"),
  [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    (0, 10, [0, 2, 4, 6, 8, 10]),
    (0, 9024, [0, 2000, 4000, 6000, 8000]),
    (0, 0.2, [0, 0.05, 0.1, 0.15, 0.2]),
    (-3, 2, [-3, -2, -1, 0, 1, 2]),
  ],
)
def test_as_many_as_fit(low, high, expected):
  assert ticks.ticks(low, high, 6) == pytest.approx(expected)


@pytest.mark.parametrize(
  ("number", "short", "long"),
  [
    (0, "0", "0"),
    (0.015625, "0.0156", "0.015625"),
    (12, "12", "12"),
    (14_197_122, "14.2M", "14,197,122"),
    (1_500, "1.5k", "1,500"),
    (93_393_496.17, "93.4M", "93,393,496"),
    (2.5e12, "2.5T", "2,500,000,000,000"),
    (-1_500, "-1.5k", "-1,500"),
  ],
)
def test_numbers_are_short_on_an_axis_and_exact_elsewhere(number, short, long):
  assert ticks.compact(number) == short
  assert ticks.exact(number) == long


def test_shares_are_percent():
  assert ticks.share(0.025) == "2.5 %" and ticks.share(1) == "100 %"
  assert ticks.share_exact(0.41912) == "41.91 %"

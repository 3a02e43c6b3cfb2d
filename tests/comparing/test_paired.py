"""Tests on paired answers, against sums and numbers computed apart."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.comparing import paired


def answers(both, only_first, only_this, neither):
  counts = (both, only_first, only_this, neither)
  pairs = np.repeat([(1, 1), (1, 0), (0, 1), (0, 0)], counts, axis=0).astype(bool)
  return pairs[:, 0], pairs[:, 1]


def exact(b, c):
  """Twice the smaller tail of a fair coin, by whole numbers."""
  tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
  return min(1.0, 2 * tail / 2 ** (b + c))


@settings(max_examples=50)
@given(*[st.integers(0, 60)] * 4)
def test_p_is_that_of_an_exact_binomial(both, only_first, only_this, neither):
  if not both + only_first + only_this + neither:
    return
  found = paired.test(*answers(both, only_first, only_this, neither))
  assert found.p == pytest.approx(exact(only_first, only_this), rel=1e-9)
  assert (found.only_first, found.only_this) == (only_first, only_this)
  count = both + only_first + only_this + neither
  assert found.photos == count
  assert found.difference == pytest.approx((only_this - only_first) / count)
  assert -1 <= found.low <= found.difference <= found.high <= 1
  turned = paired.test(*answers(both, only_this, only_first, neither))
  assert turned.p == pytest.approx(found.p)
  assert turned.low == pytest.approx(-found.high)


def test_published_numbers():
  """Agresti 2002, table 10.1: approval of the prime minister, 1,600 people twice."""
  found = paired.test(*answers(794, 150, 86, 570))
  assert found.difference == pytest.approx(-0.04)
  # Their Wald interval is -0.060 to -0.021; the adjusted one is as good as that here.
  assert (found.low, found.high) == pytest.approx((-0.059, -0.021), abs=0.001)
  assert found.p == pytest.approx(3.7e-5, rel=0.02)


def test_without_a_photo_that_tells_them_apart_nothing_is_said():
  found = paired.test(*answers(3, 0, 0, 4))
  assert (found.p, found.difference) == (1, 0) and found.low < 0 < found.high


def test_holm_by_hand():
  assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
    [0.03, 0.06, 0.06, 0.02]
  )
  assert paired.holm([0.6, 0.9]) == [1.0, 1.0]
  assert paired.holm([0.2]) == [0.2] and paired.holm([]) == []

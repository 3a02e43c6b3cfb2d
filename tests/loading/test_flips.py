"""Photos are mirrored by key, seed and pass."""

import pytest

from im21k.loading import flips

KEYS = [f"n01440764/{i}.JPEG" for i in range(4000)]
GOLDEN = "001001100100100000000100"


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**70])
def test_each_pass_mirrors_what_the_one_before_did_not(seed):
  for key in [*KEYS[:50], "n01440764/\udcff.jpg"]:
    turns = [flips.alternates(key, seed, number) for number in range(6)]
    assert turns == [turns[0], not turns[0]] * 3


def test_half_of_the_photos_are_mirrored_and_others_with_another_seed():
  first, second = ([flips.alternates(k, seed, 0) for k in KEYS] for seed in (0, 1))
  assert 1850 < sum(first) < 2150 and 1850 < sum(second) < 2150
  assert 1850 < sum(a == b for a, b in zip(first, second, strict=True)) < 2150


def test_the_hash_is_this():
  """Golden: a run that began with another hash would not go on exactly."""
  assert "".join(str(int(flips.alternates(key, 7, 0))) for key in KEYS[:24]) == GOLDEN

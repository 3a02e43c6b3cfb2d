"""The crop of evaluations follows from that of training, unless it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.photos.crops import usual_short_side
from im21k.training import eval_crop
from im21k.training.config import Config
from im21k.training.keys import flat

NAMES = ("image_size", "short_side", "eval_size", "eval_short_side")


@pytest.mark.parametrize(
  ("keys", "found"),
  [
    ((224, None, None, None), (224, 256)),
    ((160, None, None, None), (160, 183)),
    ((160, None, 224, None), (224, 256)),
    ((160, None, 224, 224), (224, 224)),
    ((160, 160, 224, None), (224, 224)),
    ((100, 150, None, None), (100, 150)),
    ((100, 150, 200, None), (200, 300)),
    ((100, 150, None, 100), (100, 100)),
  ],
)
def test_sizes_that_are_left_out_follow(keys, found):
  assert eval_crop.of(*keys) == found


def test_a_square_that_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="eval_size is 224, but must be at most eval_sh"):
    eval_crop.of(160, None, 224, 200)


SIDES = st.integers(1, 600)


@given(SIDES, st.none() | SIDES, st.none() | SIDES, st.none() | SIDES)
def test_what_follows_is_what_can_be_left_out(size, more, eval_size, eval_more):
  """Left out again, the keys resolve to the same sizes."""
  short = None if more is None else size + more
  eval_short = None if eval_more is None else (eval_size or size) + eval_more
  side, wide = eval_crop.of(size, short, eval_size, eval_short)
  resolved = dict(
    zip(NAMES, (size, short or usual_short_side(size), side, wide), strict=True)
  )
  left = {**resolved, **eval_crop.that_follow(resolved)}
  assert eval_crop.of(*(left[name] for name in NAMES)) == (side, wide)
  if eval_size is None and eval_short is None:
    assert left["eval_size"] is left["eval_short_side"] is None


@pytest.mark.parametrize(
  "values",
  [{}, {"image_size": 0}, {"image_size": "a"}, {"image_size": 224, "short_side": 3}],
)
def test_a_record_of_others_has_nothing_that_follows(values):
  assert eval_crop.that_follow(values) == {}


def test_of_a_run_from_before_these_keys_the_short_side_follows():
  values = {"image_size": 224, "short_side": 256}
  assert eval_crop.that_follow(values) == {"short_side": None}


def test_a_resolved_config_spells_them_out_and_stays(document):
  config = Config.from_dict({**document, "eval_size": 64}).resolved()
  found = {name: flat(config)[name] for name in NAMES}
  assert found == dict(zip(NAMES, (32, 37, 64, 73), strict=True))
  assert config.resolved() == config

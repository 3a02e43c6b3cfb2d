"""Models by name."""

import pytest

from im21k import models


def test_names_are_sorted_and_each_makes_a_model():
  assert models.names() == ("inception_bn_1k", "inception_bn_21k")
  for name in models.names():
    assert models.create(name).num_classes in (1000, 21841)


def test_misspelt_name_offers_the_nearest():
  with pytest.raises(ValueError, match=r"did you mean.*'inception_bn_21k'"):
    models.create("inceptionbn_21k")


def test_misspelt_field_offers_the_nearest():
  with pytest.raises(ValueError, match="no field 'num_class'; did you mean 'num_cl"):
    models.create("inception_bn_21k", num_class=10)


@pytest.mark.parametrize(
  ("field", "wrong", "right"),
  [
    ("remat", "blocks", "block"),
    ("pooling", "ceiling", "ceil"),
    ("average_pool", "ignore", "ignored"),
    ("dtype", "bfloat", "bfloat16"),
    ("table", "planar", "plain"),
  ],
)
def test_misspelt_value_offers_the_nearest(field, wrong, right):
  with pytest.raises(ValueError, match=f"{field} is '{wrong}'.*{right}"):
    models.create("inception_bn_21k", **{field: wrong})


def test_width_must_be_positive():
  with pytest.raises(ValueError, match="width is 0, but must be above 0"):
    models.create("inception_bn_21k", width=0)

"""Prices by card, as the command line has them, and what a run costs."""

import pytest

from im21k.planning import prices


def test_prices_are_by_the_names_of_the_list():
  assert prices.parse(None) == prices.parse("") == {}
  assert prices.parse("t4=0.35") == {"t4": 0.35}
  found = prices.parse("NVIDIA H100 80GB HBM3=2.5,rtx 4090 = 0,a100=1e0")
  assert found == {"h100": 2.5, "rtx4090": 0, "a100": 1}


@pytest.mark.parametrize(
  "text",
  ["t4", "t4=", "=1", "t4=x", "t4=-1", "t4=inf", "t4=nan", "t4=1,", "t4=1;a100=2"],
)
def test_what_is_no_price_is_an_error(text):
  with pytest.raises(ValueError, match=r"price is .*, but must be|no card and no file"):
    prices.parse(text)


def test_a_card_has_one_price():
  with pytest.raises(ValueError, match="price has t4 twice"):
    prices.parse("t4=1,Tesla T4=1")


def test_the_cost_is_that_of_all_cards_over_all_days():
  assert prices.cost(0.5, 4, [1, 2.5]) == [48, 120]
  assert prices.text([48, 1200.4]) == "$48 to $1,200"
  assert prices.text([0, 9.999]) == "$0.00 to $10.00"

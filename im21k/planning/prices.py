"""`card=DOLLARS_PER_HOUR` -> what a run costs on that card."""

import math
from collections.abc import Sequence

from im21k.planning import cards

_MOST = 1e6  # dollars an hour for one card


def parse(text: str | None) -> dict[str, float]:
  """Dollars an hour of one card, by its name.

  Args:
    text: `card=dollars`, several with commas between; names as `cards.get` takes them.

  Raises:
    ValueError: a part has another form, a card is unknown or comes twice, or a price is
      no number from 0 to a million.
  """
  prices: dict[str, float] = {}
  for part in text.split(",") if text else ():
    name, equals, dollars = part.rpartition("=")
    try:
      price = float(dollars)
    except ValueError:
      price = math.nan
    if not equals or not 0 <= price <= _MOST:
      raise ValueError(
        f"price is {part!r}, but must be a card and its dollars an hour, as in t4=0.35"
      )
    card = cards.get(name.strip()).name
    if card in prices:
      raise ValueError(f"price has {card} twice: leave out one of them")
    prices[card] = price
  return prices


def cost(price: float, devices: int, days: Sequence[float]) -> list[float]:
  """Dollars for so many cards over each number of days."""
  return [round(price * devices * 24 * one, 2) for one in days]


def text(dollars: Sequence[float]) -> str:
  """A range of dollars: `$1,200 to $1,900`."""
  low, high = (f"${one:,.0f}" if one >= 10 else f"${one:.2f}" for one in dollars)
  return f"{low} to {high}"

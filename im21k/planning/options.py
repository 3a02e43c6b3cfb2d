"""The options of `plan` -> the cards that it is for; what is wrong is an error."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from im21k.planning import cards, prices
from im21k.planning.compiled import MIB

ALL = "all"  # in place of a card's name
_MOST_GBS = 100_000  # of a link: more than the memory of any card


def chosen(gpu: str, link_gbs: float | None) -> list[cards.Gpu]:
  """The cards to plan for, with another link where one is given."""
  chosen = [*cards.GPUS.values()] if gpu.lower() == ALL else [cards.get(gpu)]
  if link_gbs is None:
    return chosen
  return [dataclasses.replace(card, link_gbs=link_gbs) for card in chosen]


def dollars(
  price: str | None, gpu: str, chosen: Sequence[cards.Gpu]
) -> dict[str, float]:
  """Dollars an hour by card; ValueError if one is for a card without a plan."""
  dollars = prices.parse(price)
  if others := dollars.keys() - {card.name for card in chosen}:
    raise ValueError(f"price is for {min(others)}, but the plan is for {gpu}")
  return dollars


def check_card(card: cards.Gpu, reserve: int) -> None:
  """ValueError if JAX has no code for the card, or the reserve leaves nothing of it."""
  card.check_supported()
  if reserve >= card.memory:
    raise ValueError(
      f"reserve_mib is {reserve // MIB}, but {card.name} has {card.memory // MIB} MiB"
    )


def check_alone(plan: Callable[..., Any], given: dict[str, Any]) -> None:
  """ValueError if an argument of `plan` beside `list` is given."""
  parameters = inspect.signature(plan).parameters.values()
  others = [p.name for p in parameters if given[p.name] != p.default]
  others.remove("list")
  if others:
    raise ValueError(f"list shows every card: leave out {', '.join(others)}")


def check_numbers(
  devices: int | None, batch: int | None, reserve_mib: int, link_gbs: float | None
) -> None:
  """ValueError if a number is out of range."""
  if link_gbs is not None and not 0 < link_gbs <= _MOST_GBS:
    raise ValueError(
      f"link_gbs is {link_gbs}, but must be above 0 and at most {_MOST_GBS}"
    )
  for name, value, least, most in (
    ("devices", devices, 1, 256),
    ("batch", batch, 1, 65_536),
    ("reserve_mib", reserve_mib, 0, 1 << 30),
  ):
    if value is not None and not least <= value <= most:
      raise ValueError(f"{name} is {value}, but must be from {least} to {most}")

"""Numbers -> where an axis is marked, and how a number is written there."""

import math

_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
  """Round numbers from `low` to `high`, at most `most`: multiples of 1, 2 or 5 · 10ⁿ.

  Args:
    low: end of the axis.
    high: other end, above `low`.
    most: how many there may be, at least 2.
  """
  power = math.floor(math.log10((high - low) / most))
  steps = [m * 10.0**p for p in range(power, power + 3) for m in (1, 2, 5)]
  for step in steps:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first < most:
      return [at * step for at in range(first, last + 1)]
  raise AssertionError("one of the steps is long enough")


def compact(number: float) -> str:
  """Three digits and a suffix: 0.015, 12, 14.2M."""
  for least, suffix in _SUFFIXES:
    if abs(number) >= least:
      return f"{number / least:.3g}{suffix}"
  return f"{number:.3g}"


def share(number: float) -> str:
  """A share in percent with the digits that tell it from its neighbours: 2.5 %."""
  return f"{100 * number:.3g} %"


def share_exact(number: float) -> str:
  """A share in percent with two digits after the point: 41.91 %."""
  return f"{100 * number:.2f} %"


def exact(number: float) -> str:
  """Five digits, the whole ones in groups: 14,197,122; 0.015625; 9.3393e+07."""
  if number == int(number) and abs(number) < 1e12:
    return f"{number:,.0f}"
  return f"{number:.5g}" if abs(number) < 1e6 else f"{number:,.0f}"

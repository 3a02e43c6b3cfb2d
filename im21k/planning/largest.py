"""A way to compile a step for a batch -> the largest batch that fits."""

import math
from collections.abc import Callable

from im21k.planning.compiled import Compiled

_FINE = 128  # Below it batches are tried in smaller steps.


def find(
  compile: Callable[[int], Compiled], batch: int, most: int, parts: int = 1
) -> tuple[int, Compiled | None]:
  """The largest batch that fits, in steps of 8 (16 from 128 on), and its program.

  Memory grows nearly linearly with the batch, so guesses by the last slope end soon.

  Args:
    compile: makes the step for a batch.
    batch: where the search begins.
    most: images to which batches are limited.
    parts: equal ones in which a batch is worked through; steps are longer, if need be.

  Returns:
    The batch, 0 if none fits, and what was compiled for it.
  """
  fitting: dict[int, Compiled] = {}
  failing: dict[int, Compiled] = {}
  most = _rounded(most, parts) or math.lcm(8, parts)
  guess = min(max(_next(0, parts), _rounded(batch, parts)), most)
  while True:
    compiled = compile(guess)
    (fitting if compiled.fits else failing)[guess] = compiled
    low, high = max(fitting, default=0), min(failing, default=None)
    if low == most or (high is not None and _next(low, parts) >= high):
      return low, fitting.get(low)
    arguments = sum(compiled.sizes.values())
    slope = (compiled.needed - arguments) / compiled.batch
    guess = _rounded((compiled.limit - arguments) / slope, parts)
    guess = min(max(guess, _next(low, parts)), most)
    if high is not None:
      guess = min(guess, _rounded(high - 1, parts))


def _rounded(batch: float, parts: int) -> int:
  """The largest batch of those that are tried which is no larger; 0: none."""
  small, large = math.lcm(8, parts), math.lcm(16, parts)
  found = int(batch // large) * large
  return (
    found if found >= _FINE else int(max(0, min(batch, _FINE - 1)) // small) * small
  )


def _next(batch: int, parts: int) -> int:
  """The next larger one."""
  small, large = math.lcm(8, parts), math.lcm(16, parts)
  found = (batch // small + 1) * small
  return found if found < _FINE else (max(batch, _FINE - 1) // large + 1) * large

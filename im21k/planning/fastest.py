"""A way to compile a step for a batch -> the batch with the most images/s that fits.

Larger batches spread the fixed work of a step over more images, until the memory asks
for recomputation: from there on each image costs more. So the best batch is near the
largest that recomputes nothing.
"""

import math
from collections.abc import Callable

from im21k.planning.compiled import Compiled

_STEP = 8  # images
_ROUNDS = 4


def find(
  compile: Callable[[int], Compiled], first: Compiled, most: int, parts: int = 1
) -> Compiled:
  """The program with the most images/s among a few batches; `first`, if none fits.

  Args:
    compile: makes the step for a batch, with the policies that fit.
    first: that of some batch.
    most: images to which batches are limited.
    parts: equal ones in which a batch is worked through.
  """
  step = math.lcm(_STEP, parts)
  most = max(step, most // step * step)
  best, tried = first, {first.batch}
  batch = first.batch // 2 if _recomputes(first) else _whole(first)
  for _ in range(_ROUNDS):
    batch = min(max(step, batch // step * step), most)
    if batch in tried:
      break
    tried.add(batch)
    one = compile(batch)
    if one.fits and (not best.fits or _speed(one) > _speed(best)):
      best = one
    # Shares of the need that do not grow make the first guesses low.
    batch = batch - step if _recomputes(one) else max(batch + step, _whole(one))
  return best


def _recomputes(compiled: Compiled) -> bool:
  return bool(compiled.program.recomputed_flops()) or not compiled.fits


def _speed(compiled: Compiled) -> float:
  return float(compiled.report()["images_per_s_peak"])


def _whole(compiled: Compiled) -> int:
  """About the largest batch that recomputes nothing, by the need of another."""
  arguments = sum(compiled.sizes.values())
  each = (compiled.needed - arguments) / compiled.batch
  return int((compiled.limit - arguments) / each)

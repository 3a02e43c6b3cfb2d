"""A way to compile a step for a batch -> the largest batch that fits."""

from collections.abc import Callable

from im21k.planning.compiled import Compiled


def find(
  compile: Callable[[int], Compiled], batch: int, most: int
) -> tuple[int, Compiled | None]:
  """The largest batch that fits, in steps of 8 (16 from 128 on), and its program.

  Memory grows nearly linearly with the batch, so guesses by the last slope end soon.

  Args:
    compile: makes the step for a batch.
    batch: where the search begins.
    most: images to which batches are limited.

  Returns:
    The batch, 0 if none fits, and what was compiled for it.
  """
  fitting: dict[int, Compiled] = {}
  failing: dict[int, Compiled] = {}
  guess = min(max(8, _rounded(batch)), most)
  while True:
    compiled = compile(guess)
    (fitting if compiled.fits else failing)[guess] = compiled
    low, high = max(fitting, default=0), min(failing, default=None)
    if low == most or (high is not None and _next(low) >= high):
      return low, fitting.get(low)
    arguments = sum(compiled.sizes.values())
    slope = (compiled.needed - arguments) / compiled.batch
    guess = _rounded((compiled.limit - arguments) / slope)
    guess = min(max(guess, _next(low)), most)
    if high is not None:
      guess = min(guess, _rounded(high - 1))


def _rounded(batch: float) -> int:
  step = 16 if batch >= 128 else 8
  return max(0, int(batch // step) * step)


def _next(batch: int) -> int:
  return batch + (16 if batch >= 128 else 8)

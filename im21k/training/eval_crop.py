"""The crop of evaluations: the keys of sizes -> side and short side, and back."""

from collections.abc import Mapping
from typing import Any

from im21k.photos.crops import usual_short_side


def of(
  image_size: int,
  short_side: int | None,
  eval_size: int | None,
  eval_short_side: int | None,
) -> tuple[int, int]:
  """Side of the square, and the short side of the photo that it is cut from, pixels.

  Raises:
    ValueError: evaluations have sizes of their own, and the square is the larger one.
  """
  side = eval_size or image_size
  short = eval_short_side or in_proportion(image_size, short_side, side)
  if side > short and (eval_size or eval_short_side):
    raise ValueError(
      f"eval_size is {side}, but must be at most eval_short_side, which is {short}"
    )
  return side, short


def in_proportion(image_size: int, short_side: int | None, side: int) -> int:
  """The short side for a square of another side, as `short_side` is for its own."""
  if short_side is None or short_side == usual_short_side(image_size):
    return usual_short_side(side)  # The same when the key is spelled out.
  return round(short_side * side / image_size)


def that_follow(values: Mapping[str, Any]) -> dict[str, None]:
  """Those of the four keys that are as if they were left out, each with its default.

  `values` are those of a resolved config by dotted name; of an older im21k, without
  some of them.
  """
  size, short, eval_size, eval_short = (
    value if isinstance(value, int) and value > 0 else None
    for value in (
      values.get(name)
      for name in ("image_size", "short_side", "eval_size", "eval_short_side")
    )
  )
  if size is None:
    return {}
  found = []
  if (short or size) >= size and eval_short == of(size, short, eval_size, None)[1]:
    found.append("eval_short_side")
  if eval_size == size:
    found.append("eval_size")
  if short == usual_short_side(size):
    found.append("short_side")
  return dict.fromkeys(found)

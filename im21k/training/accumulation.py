"""A batch in parts, one after another: the means over the parts of what each gives.

So that a step needs the memory of a part, and one more array for each gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def mean(
  function: Callable[..., Any], examples: tuple[jax.Array, ...], count: int, like: Any
) -> Any:
  """The mean of what a function gives for each of `count` equal parts of a batch.

  Args:
    function: of a part of each of `examples`; gives a tree of float arrays.
    examples: arrays whose first axis is that of the batch, in whose order the parts
      follow each other.
    count: of the parts.
    like: arrays of the form of what `function` gives.

  Raises:
    ValueError: the batch cannot be divided.
  """
  size = len(examples[0])
  if size % count:
    raise ValueError(
      f"{size} examples of a device are not divisible by accumulate {count}: use "
      f"{max(1, size // count) * count} for example"
    )
  parts = tuple(x.reshape(count, size // count, *x.shape[1:]) for x in examples)

  def add(total: Any, part: Any) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, function(*part)), None

  total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, like), parts)
  return jax.tree.map(lambda x: x / count, total)


def check(batch_size: int, devices: int, count: int) -> None:
  """ValueError if the devices cannot divide their share of a batch into parts."""
  together = devices * count
  if count > 1 and batch_size % together:
    raise ValueError(
      f"batch_size {batch_size} is not divisible by {devices} devices times accumulate "
      f"{count}: use {max(1, batch_size // together) * together} for example"
    )

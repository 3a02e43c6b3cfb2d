"""The largest batch that fits is found whatever the form of the memory."""

import math

from hypothesis import given
from hypothesis import strategies as st

from im21k.planning import largest


class Fake:
  """A program whose need grows in some way with the batch."""

  def __init__(self, batch, limit, bend):
    self.sizes = {"parameters": 100}
    self.batch, self.limit = batch, limit
    self.needed = 100 + 7 * batch + bend * batch**2 // 1000

  @property
  def fits(self):
    return self.needed <= self.limit


@given(
  st.integers(0, 20_000), st.integers(1, 600), st.integers(0, 30),
  st.sampled_from([1, 2, 3, 4, 7, 11, 16, 24, 1000]),
)  # fmt: skip
def test_the_largest_batch_is_found_in_few_steps(limit, start, bend, parts):
  tried = []

  def compile(batch):
    assert batch not in tried and batch and batch % parts == 0
    tried.append(batch)
    return Fake(batch, limit, bend)

  found, program = largest.find(compile, start, 1024, parts)
  small, large = math.lcm(8, parts), math.lcm(16, parts)
  steps = [*range(small, 128, small)]
  steps += [b for b in range(large, 1025, large) if b >= 128] or [small]
  expected = max((b for b in steps if Fake(b, limit, bend).fits), default=0)
  assert found == expected and len(tried) < 15
  assert (program.batch if program else 0) == expected

"""What waits for tokens is the same, bit by bit."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from im21k.models import order


@given(st.lists(st.floats(width=32), min_size=1, max_size=4), st.floats(width=32))
def test_waiting_changes_no_bit(tokens, value):
  tokens = [jnp.asarray(t, "float32") for t in tokens]
  for x in (np.float32(value), np.float16(0.5), np.int8(-3), np.uint8(255)):
    found = np.asarray(order.after(jnp.asarray(x), *tokens))
    assert found.dtype == x.dtype and found.tobytes() == x.tobytes()


def test_waiting_is_still_there_when_the_program_is_compiled():
  def late(x, token):
    return order.after(x, token)

  compiled = jax.jit(late).lower(jnp.zeros(8), jnp.zeros(())).compile().as_text()
  assert "select" in compiled and "parameter(1)" in compiled


def test_a_token_is_of_every_array():
  """One value of each: none is there before the last of them is."""
  tree = {
    "a": jnp.ones((2, 3)),
    "b": jnp.full((4, 4), 7, "bfloat16"),
    "c": jnp.ones(()),
  }
  assert order.token(tree) == 9

"""Flags and memory of JAX."""

import pytest

from im21k import xla


def test_jax_gets_the_flags_it_needs_and_the_users_take_precedence():
  ours = xla.environment({})
  for name in xla.XLA_FLAGS:
    assert f"{name}=" in ours["XLA_FLAGS"]
  assert ours["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.875"
  (name, *_) = xla.XLA_FLAGS
  given = {
    "XLA_FLAGS": f"--other=1 {name}=false",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": ".5",
  }
  theirs = xla.environment(given)
  assert theirs["XLA_FLAGS"].count(name) == 1
  assert theirs["XLA_FLAGS"].endswith(given["XLA_FLAGS"])
  assert theirs["XLA_PYTHON_CLIENT_MEM_FRACTION"] == ".5"
  assert xla.flags(given) == {**xla.XLA_FLAGS, name: False}
  number = "--xla_gpu_memory_limit_slop_factor"
  assert xla.flags({"XLA_FLAGS": f"{number}=70"})[number] == 70
  assert xla.flags(ours) == xla.XLA_FLAGS


@pytest.mark.parametrize("deterministic", [False, True])
def test_setting_up_twice_changes_nothing_more(deterministic):
  once = {}
  xla.set_up(4, once, deterministic)
  assert ("nondeterministic_ops=true" in once["XLA_FLAGS"]) == deterministic
  twice = dict(once)
  xla.set_up(4, twice, deterministic)
  assert once == twice

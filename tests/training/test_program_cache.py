"""Compiled programs are kept in the user's cache, or where JAX's variable says."""

import jax
import pytest

from im21k.training import program_cache


@pytest.fixture
def kept():
  """The folder that JAX was told; what it was is restored."""
  name = "jax_compilation_cache_dir"
  before = getattr(jax.config, name)
  jax.config.update(name, None)
  yield lambda: getattr(jax.config, name)
  jax.config.update(name, before)


def test_programs_are_kept_in_the_users_cache(kept, tmp_path):
  program_cache.use({"XDG_CACHE_HOME": str(tmp_path)})
  assert kept() == str(tmp_path / "im21k" / "programs")


def test_without_a_variable_it_is_below_home(kept, monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  program_cache.use({})
  assert kept() == str(tmp_path / ".cache" / "im21k" / "programs")


@pytest.mark.parametrize("value", ["", "/elsewhere"])
def test_the_variable_of_jax_comes_first(kept, value):
  program_cache.use({program_cache.VARIABLE: value})
  assert kept() is None

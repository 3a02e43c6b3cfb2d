"""Compiled programs, kept for the next start of a run on this machine.

Compiling takes minutes, and on a GPU the algorithms of convolutions are chosen by
timing them: what is kept starts at once, and with the same algorithms.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import jax

VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # JAX's own, which comes first


def folder(environ: Mapping[str, str] = os.environ) -> Path:
  """Where programs are kept: the user's own folder for caches.

  It is no part of a work folder: those are passed on, and what is in the cache is run.
  """
  base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
  return Path(base) / "im21k" / "programs"


def use(environ: Mapping[str, str] = os.environ) -> None:
  """Keeps what JAX compiles from here on, unless the environment says where, or not.

  An empty `JAX_COMPILATION_CACHE_DIR` turns it off.
  """
  if VARIABLE not in environ:
    jax.config.update("jax_compilation_cache_dir", str(folder(environ)))

"""Libraries that only one format needs -> are they here, or how to install them."""

import importlib.util


def need(extra: str, *modules: str) -> None:
  """ValueError, with the command that installs them, if one is missing.

  Args:
    extra: of `setup.cfg`, which brings them.
    modules: that will be imported.
  """
  missing = [name for name in modules if not has(name)]
  if missing:
    raise ValueError(
      f"--format {extra} needs {' and '.join(missing)}: pip install 'im21k[{extra}]'"
    )


def has(module: str) -> bool:
  """Whether a library is installed."""
  return importlib.util.find_spec(module) is not None

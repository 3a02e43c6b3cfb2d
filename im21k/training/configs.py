"""Config files, shipped or the user's own: a name or a path -> a checked `Config`.

A config file is Python with a function `get_config()` that returns nested keys: a dict,
or anything with `to_dict()`, such as a ConfigDict.
"""

import ast
import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import im21k
from im21k.models.registry import nearest
from im21k.training.config import Config
from im21k.training.outputs import one_line


def folder() -> Path:
  """The shipped configs: in a checkout `experiments/configs`, else in the package."""
  package = Path(im21k.__file__).parent
  packaged = package / "configs"
  return packaged if packaged.is_dir() else package.parent / "experiments" / "configs"


def names() -> tuple[str, ...]:
  """The names of the shipped configs, sorted."""
  return tuple(sorted(path.stem for path in folder().glob("[!_]*.py")))


def summary(name: str) -> str:
  """The first line of the docstring of a shipped config."""
  tree = ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8"))
  return (ast.get_docstring(tree) or "").partition("\n")[0]


def find(name_or_path: str | Path) -> Path:
  """The file of a config.

  Raises:
    ValueError: it is neither a file nor the name of a shipped config; offers the
      nearest.
  """
  path = Path(name_or_path)
  if path.suffix == ".py":
    if not path.is_file():
      raise ValueError(
        f"there is no config {path}: give a file, or a name that `im21k configs` lists"
      )
    return path
  if str(name_or_path) not in names():
    raise ValueError(
      f"there is no config {str(name_or_path)!r}{nearest(str(name_or_path), names())}"
    )
  return folder() / f"{name_or_path}.py"


def get_config(name_or_path: str | Path) -> Any:
  """What the `get_config` of a config file returns, for configs that vary another.

  Raises:
    ValueError: there is no such file, or it has no such function.
  """
  path = find(name_or_path)
  try:
    function = runpy.run_path(str(path)).get("get_config")
    if callable(function):
      return function()
  except (Exception, SystemExit) as error:
    raise ValueError(_where(path, error)) from error
  raise ValueError(f"{path} has no function get_config()")


def _where(path: Path, error: BaseException) -> str:
  """An error in a config file, with the last line of that file that led to it."""
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == str(path)]
  if isinstance(error, SyntaxError):
    lines.append(error.lineno)
  line = f", line {lines[-1]}" if lines and lines[-1] else ""
  kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
  return f"{path}{line}: {kind}{one_line(error)}"


def document(name_or_path: str | Path) -> Mapping[str, Any]:
  """The nested keys in a config file, not checked yet.

  Raises:
    ValueError: there is no such file, or it returns something else.
  """
  config = get_config(name_or_path)
  found = config.to_dict() if hasattr(config, "to_dict") else config
  if not isinstance(found, Mapping):
    raise ValueError(f"get_config() of {name_or_path} must return a dict or ConfigDict")
  return found


def load(name_or_path: str | Path, settings: Mapping[str, Any] | None = None) -> Config:
  """The config in a file, with settings by dotted name in place of its values.

  Raises:
    ValueError: there is no such file, or a key or value is wrong.
  """
  return Config.from_dict(document(name_or_path), settings)

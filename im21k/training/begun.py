"""A config and the run in a work folder -> the config with which that run goes on.

What the run has chosen, and what it did before a key existed, stays as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from im21k import documents
from im21k.training import keys, policies
from im21k.training.config import Config, all_keys

# What runs did before there was a key whose default means something else.
_BEFORE = {"augment.lanes": 1}


def of_run(config: Config, workdir: Path) -> Config:
  """The config with what the run in a work folder has chosen, if there is one.

  Raises:
    ValueError: its config.json is damaged.
  """
  path = workdir / "config.json"
  chosen = policies.of_run(config, workdir)
  return as_begun(chosen, documents.read(path)) if path.is_file() else chosen


def as_begun(config: Config, before: Mapping[str, Any]) -> Config:
  """The config with the old way for each key that a run did not have when it began.

  A value other than the default was asked for, and stays.

  Args:
    config: of the run now, or as `before` reads by today's defaults.
    before: the content of its config.json.
  """
  now = keys.flat(config)
  default = {key.name: key.default for key in all_keys()}
  old = {
    name: value
    for name, value in _BEFORE.items()
    if not _has(before, name) and now[name] == default[name]
  }
  return config.changed(old) if old else config


def _has(document: Any, name: str) -> bool:
  for part in name.split("."):
    if not isinstance(document, Mapping) or part not in document:
      return False
    document = document[part]
  return True

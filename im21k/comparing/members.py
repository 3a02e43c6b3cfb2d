"""A RUN of the command line -> what is recorded of it: settings, curves, weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from im21k import documents, weights
from im21k.training import eval_crop, keys, resume
from im21k.training.log import read_rows

_FINETUNED = "finetune.json"  # What `im21k finetune` records in place of a config.


@dataclasses.dataclass(frozen=True)
class Member:
  """A run, or weights without one.

  Attributes:
    name: short, and different from those of the others.
    path: as it was given.
    settings: values by dotted name.
    hashes: of what is at the places that the settings name.
    history: `[step, key, old, new]` of each change when the run was resumed.
    environment: what it ran on, by name.
    rows: of its metrics.
    weights: release folder; None: it has none yet.
    step: of these weights; None: not recorded.
  """

  name: str
  path: Path
  settings: dict[str, Any]
  hashes: dict[str, str]
  history: list[Any]
  environment: dict[str, Any]
  rows: list[dict[str, Any]]
  weights: Path | None
  step: int | None


def read(paths: Sequence[Path]) -> list[Member]:
  """The runs, each with a name of its own.

  Raises:
    FileNotFoundError: a path holds neither a run nor weights.
    ValueError: a file is damaged, or a run is given twice.
  """
  real = [path.resolve() for path in paths]
  for path, where in zip(paths, real, strict=True):
    if real.count(where) > 1:
      raise ValueError(f"{path} is given twice: name each run once")
  names = [where.name for where in real]
  return [
    _read(path, name if names.count(name) == 1 else str(path))
    for path, name in zip(paths, names, strict=True)
  ]


def _read(path: Path, name: str) -> Member:
  released = weights.find(path)
  document: dict[str, Any] = {}
  found: Path | None = None
  if (released / weights.DOCUMENT).is_file():
    found, document = released, documents.read(released / weights.DOCUMENT)
  trained = document.get("config")
  trained = trained if isinstance(trained, dict) else {}
  recorded: dict[str, Any] = trained
  if (path / "config.json").is_file():
    recorded = documents.read(path / "config.json")
  elif (path / _FINETUNED).is_file():
    recorded = documents.read(path / _FINETUNED)
  elif found is None:
    raise FileNotFoundError(f"{path} holds neither a run nor weights: no config.json")
  hashes, history = recorded.get(resume.HASHES), recorded.get(resume.HISTORY)
  environment = path / "environment.json"
  step = trained.get(resume.STEP)
  return Member(
    name=name,
    path=path,
    settings=_settings(recorded),
    hashes=hashes if isinstance(hashes, dict) else {},
    history=history if isinstance(history, list) else [],
    environment=documents.read(environment) if environment.is_file() else {},
    rows=[row for row in read_rows(path / "metrics.jsonl") if "images" in row],
    weights=found,
    step=step if type(step) is int else None,
  )


def _settings(recorded: dict[str, Any]) -> dict[str, Any]:
  """Values by dotted name; a key that an older im21k did not know as it did then."""
  try:
    config = resume.config_of(recorded).resolved()
    found = keys.flat(config)
    return found | eval_crop.that_follow(found)
  except ValueError:  # Of no run of this im21k.
    found = {}
    _flatten(resume.keys_of(recorded), "", found)
    return found


def _flatten(value: Any, name: str, found: dict[str, Any]) -> None:
  if isinstance(value, dict) and value:
    for part, inner in value.items():
      _flatten(inner, f"{name}.{part}" if name else part, found)
  elif name:
    found[name] = value

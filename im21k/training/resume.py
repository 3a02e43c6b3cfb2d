"""Whether a run may be resumed with other settings.

In come the config.json of before and the run as it is set up now. Out come the list of
changed keys, or a ValueError that names those that must stay.
"""

from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.dataset.manifest import Manifest
from im21k.training import begun, keys, start
from im21k.training.config import Config, all_keys
from im21k.training.setup import Setup

# What config.json and model.json hold besides the keys.
HASHES, HISTORY, STEP = "hashes", "history", "step"
MAIN_SET = "eval_set"  # among the hashes: the set of eval_data that best goes by
PARAMETERS = "parameters"  # of the run that a checkpoint is of
# Keys whose value is a place, and that are compared by the hash of what is there.
_PLACES = ("data", "classes", "init.weights")
Change = tuple[str, Any, Any]  # key, old value, new value


def changes(
  holder: Path, before: dict[str, Any], run: Setup, file: str = "config.json"
) -> list[Change]:
  """The keys that differ from those of a run that is resumed.

  Args:
    holder: its work folder, or one of its checkpoints, for messages.
    before: the content of its config.json.
    run: the run as it is set up now.
    file: the file in `holder` that says so, for messages.

  Raises:
    ValueError: a key differs that must not change, all of which are named; or
      config.json cannot be read.
  """
  try:
    old_config = config_of(before)
  except ValueError as error:
    raise ValueError(
      f"{holder / file} cannot be read by this im21k: {error}. Take another workdir"
    ) from error
  now = hashes(run)
  saved = before.get(HASHES, {})
  if not isinstance(saved, dict):
    raise ValueError(f"{holder / file} is damaged: {HASHES} is no JSON object")
  then = {**_hashes_today(old_config), **saved}
  old, new = (keys.flat(config.resolved()) for config in (old_config, run.config))
  free = {key.name for key in all_keys() if not key.fixed}
  changed: list[Change] = []
  refused: list[str] = []
  for name in [*new, *(name for name in old if name not in new)]:
    values = old.get(name), new.get(name)
    if name == "eval_data":
      refused += _eval_data(*values, then, now)
      changed += [(name, *values)] if values[0] != values[1] else []
      continue
    known = name in _PLACES and name in now
    if known and then.get(name, now[name]) != now[name]:
      refused.append(
        f"{name} was {values[0]} with hash {then[name]}, is {values[1]} with hash "
        f"{now[name]}"
      )
    elif values[0] == values[1]:
      continue
    elif name in free or known or name.partition(".")[0] == "reference":
      changed.append((name, *values))
    else:
      refused.append(f"{name} was {values[0]}, is {values[1]}")
  if refused:
    raise ValueError(
      f"{holder} holds a run with other settings: {'; '.join(refused)}. Take another "
      "workdir, or the old settings"
    )
  return changed


def _eval_data(
  old: dict[str, str] | None,
  new: dict[str, str] | None,
  then: dict[str, str],
  now: dict[str, str],
) -> list[str]:
  """Why these sets cannot follow those: a set may come or go, but not change."""
  refused = [
    f"eval_data was {name}={(old or {}).get(name, 'other photos')} with hash "
    f"{then[key]}, is {name}={(new or {})[name]} with hash {now[key]}"
    for name, key in ((name, f"eval_data.{name}") for name in new or {})
    if then.get(key, now[key]) != now[key]
  ]
  mains = [then.get(MAIN_SET), now.get(MAIN_SET)]
  if None not in mains and mains[0] != mains[1]:
    refused.append(
      f"eval_data was such that best goes by {mains[0]}, is such that it goes by "
      f"{mains[1]}"
    )
  return refused


def hashes(run: Setup) -> dict[str, str]:
  """What is at the places that the config names, independent of where they are.

  Of weights that a run started from and that are gone, nothing.
  """
  found = {
    "data": run.loader.manifest.digest,
    "classes": run.classes.fingerprint,
    "init.weights": start.fingerprint(run.config.init) if run.config.init else None,
    **{
      f"eval_data.{one.name}": one.manifest.digest for one in run.eval_sets if one.name
    },
    MAIN_SET: next(
      (one.name for one in run.eval_sets if one.name and one.is_main), None
    ),
  }
  return {name: one for name, one in found.items() if one is not None}


def config_of(document: dict[str, Any]) -> Config:
  """The config of the run with this config.json; ValueError if it is none."""
  return begun.as_begun(Config.from_dict(keys_of(document)), document)


def keys_of(document: dict[str, Any]) -> dict[str, Any]:
  """The config keys in a config.json, without what it holds besides them."""
  besides = (HASHES, HISTORY, STEP, PARAMETERS)
  return {k: v for k, v in document.items() if k not in besides}


def _hashes_today(config: Config) -> dict[str, str]:
  """For a run that recorded no hashes: those of what is at its places today."""
  today: dict[str, str] = {}
  try:
    today["classes"] = synsets.get(config.classes).fingerprint
    today["data"] = Manifest.load(Path(config.data)).digest
  except (ValueError, OSError):
    pass
  return today

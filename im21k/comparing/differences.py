"""Runs -> the settings in which they differ, key by key."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from im21k.comparing.grid import as_text
from im21k.comparing.members import Member

ABSENT = "-"


def settings(runs: Sequence[Member]) -> list[dict[str, Any]]:
  """A row for each key in which not all runs agree.

  Returns:
    Rows of `key`, `values` (as text, one for each run; "-": it has no such key) and
    `same_content`: whether these are places at which the same is found, by its hash.
  """
  found = []
  every = dict.fromkeys(name for run in runs for name in run.settings)
  # A section that some runs do not have is none there, and its keys are absent.
  sections = {name.partition(".")[0] for name in every if "." in name}
  names = [
    name
    for name in every
    if name not in sections or any(run.settings.get(name) is not None for run in runs)
  ]
  for name in [*names, *(n for n in _hashed(runs) if n not in names)]:
    hashes = [run.hashes.get(name) for run in runs]
    values = [_text(run.settings, name) for run in runs]
    is_other = len({*hashes}) > 1
    if len({*map(_canonical(name, runs), range(len(runs)))}) == 1 and not is_other:
      continue
    if is_other:
      values = [
        f"{value} (hash {hash_})" if hash_ else value
        for value, hash_ in zip(values, hashes, strict=True)
      ]
    same = None not in hashes and not is_other
    found.append({"key": name, "values": values, "same_content": same})
  return found


def environments(runs: Sequence[Member]) -> list[dict[str, Any]]:
  """The same of what the runs ran on: rows of `key` and `values`."""
  names = dict.fromkeys(name for run in runs for name in run.environment)
  rows = [
    {"key": name, "values": [_text(run.environment, name) for run in runs]}
    for name in names
  ]
  return [row for row in rows if len({*row["values"]}) > 1]


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
  """Which settings differ, in words."""
  names = [row["key"] for row in rows if not row["same_content"]]
  places = [row["key"] for row in rows if row["same_content"]]
  said = f"the settings differ in {', '.join(names)}" if names else ""
  said = said or "the settings differ in nothing"
  if places:
    said += f" ({', '.join(places)}: the same content at another place)"
  return said


def _hashed(runs: Sequence[Member]) -> list[str]:
  return list(dict.fromkeys(name for run in runs for name in run.hashes))


def _canonical(name: str, runs: Sequence[Member]) -> Any:
  """By the position of a run its value, comparable; numbers by what they are."""

  def value(at: int) -> str:
    if name not in runs[at].settings:
      return ABSENT
    found = runs[at].settings[name]
    return json.dumps(float(found) if type(found) is int else found, sort_keys=True)

  return value


def _text(values: Mapping[str, Any], name: str) -> str:
  if name not in values:
    return ABSENT
  return "none" if values[name] == [] else as_text(values[name])

"""Sorted runs on disk: which belong to a task, and the rows of all of them.

A run is a file of records and a side file with a row for each; `external_shuffle`
writes and reads the records.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from im21k.packing import outcomes, scratch

_SUFFIX = ".run"


def run_path(folder: Path, task: int, index: int) -> Path:
  """Path of a run's side file; its records are in the .bin file of the same name."""
  return folder / f"run-{task:05d}-{index:05d}{_SUFFIX}"


def done(folder: Path) -> set[int]:
  """Numbers of the tasks all of whose runs exist."""
  names = (name for name in os.listdir(folder) if name.endswith(_SUFFIX))
  latest = {scratch.part_number(name): folder / name for name in sorted(names)}
  return {task for task, path in latest.items() if scratch.load_head(path)["last"]}


def grouped(streams: Iterable[Any], limit: int) -> list[tuple[Any, ...]]:
  """Streams in their order, grouped up to about `limit` bytes: the tasks."""
  groups: list[list[Any]] = [[]]
  size = 0
  for stream in streams:
    if groups[-1] and size + stream.size > limit:
      groups.append([])
      size = 0
    groups[-1].append(stream)
    size += stream.size
  return [tuple(group) for group in groups]


def gather(
  paths: list[Path],
) -> tuple[dict[str, np.ndarray], list[outcomes.Rejection], Counter[str]]:
  """Reads the side files of all runs.

  Returns:
    The rows of all photos as arrays: `keys` (all bytes), `ends` (of each key among
    them), `labels`, `places`, `digests`, `kinds`, `runs`, `parts` (numbers of sources),
    `offsets` and `lengths` (0 for a rejected photo); the rejections; the number of
    photos left out by synset.
  """
  heads = [scratch.load_head(path) for path in paths]
  total = sum(head["photos"] for head in heads)
  rows = {
    "keys": np.empty(sum(head["key_bytes"] for head in heads), np.uint8),
    "ends": np.empty(total, np.int64),
    "labels": np.empty(total, np.int32),
    "places": np.empty((total, 2), np.uint64),
    "digests": np.empty((total, 2), np.uint64),
    "kinds": np.empty(total, np.uint32),
    "runs": np.empty(total, np.int32),
    "parts": np.empty(total, np.int16),
    "offsets": np.empty(total, np.int64),
    "lengths": np.empty(total, np.int32),
  }
  rejections, skipped = list[outcomes.Rejection](), Counter[str]()
  at = key_at = 0
  for index, (path, head) in enumerate(zip(paths, heads, strict=True)):
    _, run = scratch.load(path)
    skipped.update(head["skipped"])
    rejections += outcomes.from_bytes(run.pop("rejections"))
    run["ends"] += key_at
    for name, value in (("runs", index), ("parts", head["part"])):
      run[name] = np.full(head["photos"], value)
    keys = run.pop("keys")
    rows["keys"][key_at : key_at + len(keys)] = keys
    for name, array in run.items():
      rows[name][at : at + len(array)] = array
    at, key_at = at + head["photos"], key_at + len(keys)
  return rows, rejections, skipped

"""The two ways to pack, step by step, and what is kept so that a killed job goes on."""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from im21k import files, machine, synsets
from im21k.packing import (
  completion,
  estimate,
  external_shuffle,
  progress,
  shard_writer,
  workers,
)
from im21k.packing.config import Options
from im21k.packing.outcomes import Note, Outcomes
from im21k.packing.split import Table, Task
from im21k.photos import sources

_NUMBERED = re.compile("(run|train|eval)-[0-9]+-")


@dataclasses.dataclass(frozen=True)
class Job:
  """A data set to be packed: `direct` or `external` does it, or a part of it."""

  options: Options
  classes: synsets.ClassList
  choice: external_shuffle.Choice
  found: sources.Source

  @property
  def destination(self) -> Path:
    return self.options.destination

  @property
  def state(self) -> Path:
    return self.destination / shard_writer.STATE

  @property
  def workers(self) -> int:
    return self.options.workers or machine.cores()

  def direct(self) -> dict[str, Any]:
    """Reads each photo when its shard is written."""
    table, _ = Table.read(self.found.entries(), self.choice)
    held = self.options.held_out(table)  # Nothing is written where this fails.
    self.begin({"direct": True, "memory": None, "photos": table.digest()})
    repeated = table.repeated()
    tasks = ShardTasks(table, held, ~repeated, self.options.shards)
    root = self.found.root
    assert root is not None
    write = functools.partial(
      shard_writer.write_direct, root, self.destination, self.choice
    )
    missing = self.write_shards(
      write, tasks, lambda task: task, lambda task: _bytes_of(root, task.keys)
    )
    notes = self.repeated_notes(table, repeated)
    return self.finish(missing, tasks, table, None, None, notes)

  def external(self) -> dict[str, Any]:
    """Reads the source as it lies into sorted runs, and those into shards."""
    waiting = self.write_runs()
    if waiting:
      return {"waiting": waiting, "part": self.options.part}
    paths = sorted(self.state.glob("run-*.run"))
    rows, notes = external_shuffle.gather(paths)
    table = Table(*(rows[name] for name in ("keys", "ends", "labels", "places")))
    where = rows["runs"], rows["offsets"], rows["lengths"]
    per_photo = Outcomes(table.labels, rows["kinds"], rows["digests"], notes)
    held = self.options.held_out(table)
    repeated = table.repeated()
    left_out = self.repeated_notes(table, repeated)
    usable = ~repeated & (rows["lengths"] > 0)
    if self.options.duplicates != "keep":
      to = self.destination if self.options.duplicates == "multi-label" else None
      usable, more = completion.one_of_each(table, usable, per_photo, self.classes, to)
      left_out += more
    # Rejected photos have their place in a shard too, as they do in the direct way.
    tasks = ShardTasks(table, held, ~repeated, self.options.shards)

    def located(task: Task) -> tuple:
      return task.name, *(array[task.rows[usable[task.rows]]] for array in where)

    bins = [path.with_suffix(".bin") for path in paths]
    write = functools.partial(shard_writer.write_external, bins, self.destination)
    missing = self.write_shards(
      write, tasks, located, lambda task: int(located(task)[3].sum())
    )
    trained = table.labels[usable & ~held]
    per_photo = per_photo.where(usable)
    return self.finish(missing, tasks, table, per_photo, trained, left_out)

  def write_runs(self) -> int:
    """First pass; returns how many tasks others have still to do."""
    found = self.found.measured()
    total = sum(stream.size for stream in found.streams)
    self.begin({"direct": False, "photos": None}, total)
    limit = int(self.begun()["memory"] * 1e9)
    mine, parts = self.options.share()
    tasks = list(enumerate(_grouped(found.streams, limit)))
    todo = [
      t for t in tasks[mine::parts] if not external_shuffle.is_done(self.state, t[0])
    ]

    def needed() -> int:
      have = sum(path.stat().st_size for path in self.state.iterdir())
      return 2 * total - have

    if todo and not self.options.resize:  # Else nobody knows how small they become.
      estimate.check_space(self.destination, needed())
    write = functools.partial(
      external_shuffle.write_runs, self.state, self.choice, limit
    )
    size = sum(stream.size for _, streams in todo for stream in streams)
    self.follow("read", write, todo, needed, size=size)
    return sum(not external_shuffle.is_done(self.state, number) for number, _ in tasks)

  def write_shards(
    self,
    write: Callable[[Any], None],
    tasks: "ShardTasks",
    prepared: Callable[[Task], Any],
    size: Callable[[Task], int],
  ) -> int:
    """Second or only pass; returns how many shards others have still to do."""
    mine, parts = self.options.share()
    todo = {
      name: count
      for name, count in tasks.counts.items()
      if _number(name) % parts == mine and not self.is_done(name)
    }
    chosen = (task for task in tasks if task.name in todo)

    def needed() -> int:
      return sum(
        size(task)
        for task in tasks
        if task.name in todo and not self.is_done(task.name)
      )

    if todo:
      photos = sum(todo.values())
      self.follow("pack", write, map(prepared, chosen), needed, photos=photos)
    return sum(not self.is_done(name) for name in tasks.counts)

  def follow(
    self,
    what: str,
    function: Callable[[Any], None],
    tasks: Iterable[Any],
    needed: Callable[[], int],
    photos: int | None = None,
    size: int | None = None,
  ) -> None:
    """Runs tasks, shows progress, and tells of a full disk how much is missing."""
    run = workers.run_beam if self.options.runner == "beam" else workers.run_local
    shared = workers.Shared.of(self.workers)
    with (
      estimate.full_disk_told(self.destination, needed),
      progress.shown(what, shared.counts, photos=photos, size=size),
    ):
      for _ in run(function, tasks, self.workers, shared):
        pass

  def is_done(self, shard: str) -> bool:
    return shard_writer.side(self.destination, shard).exists()

  def begin(self, how: dict[str, Any], size: int = 0) -> None:
    """Makes the state folder, or goes on with one that was begun in the same way."""
    options, path = self.options, self.state / "begun.json"
    before = self.begun() if path.exists() else {}
    mine, parts = options.share()
    if "memory" not in how:
      chosen = estimate.memory(size, options.shards, self.workers)
      how = {"memory": options.memory or before.get("memory") or chosen, **how}
    begun = {
      "source": str(options.source.resolve()),
      "classes": self.classes.hash,
      "seed": options.seed,
      "shards": options.shards,
      "parts": parts,
      **how,
      **options.content(),
    }
    other = [key for key in begun if before and before.get(key) != begun[key]]
    if other:
      raise FileExistsError(
        f"{self.destination} holds the beginning of a data set packed in another way "
        f"({', '.join(other)} differ): give the same arguments, or remove "
        f"{self.destination}"
      )
    self.state.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(self.state, lambda name: _is_of(name, mine, parts))
    if not before:
      files.create_text(path, json.dumps(begun) + "\n")
      self.begin(how, size)  # Another part may have been the first.

  def begun(self) -> dict[str, Any]:
    return json.loads((self.state / "begun.json").read_text(encoding="utf-8"))

  def repeated_notes(self, table: Table, repeated: np.ndarray) -> list[Note]:
    told = "name comes twice", "another file had it before"
    rows = np.flatnonzero(repeated).tolist()
    return [completion.note(table, row, self.classes, *told) for row in rows]

  def finish(
    self,
    missing: int,
    tasks: "ShardTasks",
    table: Table,
    per_photo: Outcomes | None,
    trained: np.ndarray | None,
    notes: list[Note],
  ) -> dict[str, Any]:
    if missing:
      return {"waiting": missing, "part": self.options.part}
    names = list(tasks.counts)
    completion.write(
      self.options, self.classes, names, per_photo, trained, notes, tasks.to_train
    )
    return completion.result(self.destination)


class ShardTasks:
  """The shards of both splits."""

  def __init__(
    self, table: Table, held: np.ndarray, placed: np.ndarray, count: int | None
  ):
    self._splits = (("train", ~held & placed, count), ("eval", held & placed, None))
    self._table = table
    self.to_train = int(np.sum(~held))
    # Name of each shard: how many photos have a place in it.
    self.counts: dict[str, int] = {}
    for split in self._splits:
      names, total = table.shard_names(*split), int(split[1].sum())
      for i, name in enumerate(names):
        cuts = (total * j // len(names) for j in (i, i + 1))
        self.counts[name] = -next(cuts) + next(cuts)

  def __iter__(self) -> Iterator[Task]:
    for split in self._splits:
      yield from self._table.shards(*split)


def _is_of(name: str, mine: int, parts: int) -> bool:
  """Whether a file of the state folder is written by this part alone."""
  if parts == 1:
    return True
  return _NUMBERED.match(name) is not None and _number(name) % parts == mine


def _number(name: str) -> int:
  """Of a run's task or of a shard, which says whose part it is."""
  return int(name.split("-")[1])


def _bytes_of(root: Path, keys: list[bytes]) -> int:
  folder, total = os.path.join(os.fsencode(root), b""), 0
  for key in keys:
    try:
      total += os.stat(folder + key).st_size
    except OSError:
      continue  # It will be rejected.
  return total


def _grouped(streams: tuple, limit: int) -> Iterator[tuple]:
  """Streams in their order, up to some `limit` bytes together."""
  group: list[Any] = []
  size = 0
  for stream in streams:
    if group and size + stream.size > limit:
      yield tuple(group)
      group, size = [], 0
    group.append(stream)
    size += stream.size
  yield tuple(group)

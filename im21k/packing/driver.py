"""The two ways to pack, step by step; what a killed run completed is not done again."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.packing import (
  completion,
  estimate,
  external_shuffle,
  final_files,
  part_counts,
  recording,
  run_files,
  scratch,
  shard_writer,
  source_state,
  stages,
)
from im21k.packing import selection as selections
from im21k.packing.config import PackOptions
from im21k.packing.outcomes import Outcomes, Rejection
from im21k.packing.parts import Parts
from im21k.packing.photo_index import PhotoIndex
from im21k.packing.selection import Selection
from im21k.packing.shard_plan import ShardPlan, ShardTask


@dataclasses.dataclass(frozen=True)
class Packer:
  """A data set to pack; `pack` packs it, or a part of it.

  Attributes:
    parts: the sources of photos.
    destination: folder for the shards.
    options, classes, selection: how to pack, and which photos with which label.
  """

  parts: Parts
  destination: Path
  options: PackOptions
  classes: synsets.ClassList
  selection: Selection

  @property
  def _runner(self) -> stages.Runner:
    return stages.Runner(self.destination, self.options, self.parts)

  @property
  def scratch(self) -> Path:
    return self.destination / scratch.FOLDER

  def pack(self, direct: bool) -> dict[str, Any]:
    """Packs in one of the two ways; returns as the function `pack` does."""
    with (
      estimate.explain_full_disk(self.destination),
      scratch.held(self.destination, self.options.share()),
    ):
      # Now nobody else writes; whoever did so before may have completed it.
      if final_files.is_complete(self.destination, self.options, self.classes):
        return final_files.result(self.destination, self.options)
      self._runner.check()
      return self._pack_direct() if direct else self._pack_external()

  def _pack_direct(self) -> dict[str, Any]:
    """Reads each photo when its shard is written."""
    roots, left_out, skipped = self.parts.roots, list[Rejection](), Counter[str]()
    with source_state.recording(self.scratch) as recorder:
      first, *more = (
        selections.usable(recording.entries(self.parts, part, recorder), left_out)
        for part in self.parts
      )
      label, seed = self.selection.label, self.options.seed
      index = PhotoIndex.read(first, label, seed, skipped, more)
      # Nothing is written where this fails.
      held_out = selections.held_out(self.options, index, self.parts, left_out)
      self._begin({"shuffle": "direct", "memory": None}, recorder)
    repeated = index.repeated()
    plan = ShardPlan(index, held_out, ~repeated, self.options.shards)
    write = functools.partial(
      shard_writer.write_direct, roots, self.destination, self.selection
    )
    size = functools.partial(shard_writer.size_of, roots)
    missing = self._write_shards(write, plan, lambda task: task, size)
    if missing:
      return {"waiting": missing, "part": self.options.part}
    rejections = selections.reject_repeated(index, repeated, self.classes)
    return self._complete(
      plan,
      placed=part_counts.placed(self.parts, index, ~repeated),
      rejections=left_out + rejections,
      skipped=skipped,
    )

  def _pack_external(self) -> dict[str, Any]:
    """Reads the source in sequence into sorted runs, and those into shards."""
    missing = self._write_runs()
    if missing:
      return {"waiting": missing, "part": self.options.part}
    paths = sorted(self.scratch.glob("run-*.run"))
    rows, rejections, skipped = run_files.gather(paths)
    index = PhotoIndex.of(rows)
    per_photo = Outcomes(index.labels, rows["kinds"], rows["digests"], rejections)
    held_out = selections.held_out(self.options, index, self.parts, rejections)
    repeated = index.repeated()
    left_out = selections.reject_repeated(index, repeated, self.classes)
    usable = ~repeated & (rows["lengths"] > 0)
    if self.options.duplicates != "keep":
      several = self.options.duplicates == "multi-label"
      usable, dropped = selections.drop_duplicates(
        index,
        usable,
        rows["digests"],
        self.classes,
        self.destination if several else None,
        held_out if self.parts.are_divided else None,
      )
      left_out += dropped
    # Rejected photos have their place in a shard too, as in the direct way.
    plan = ShardPlan(index, held_out, ~repeated, self.options.shards)
    where = rows["runs"], rows["offsets"], rows["lengths"]

    def located(task: ShardTask) -> tuple[Any, ...]:
      return task.name, *(array[task.rows[usable[task.rows]]] for array in where)

    bins = [path.with_suffix(".bin") for path in paths]
    write = functools.partial(shard_writer.write_external, bins, self.destination)
    missing = self._write_shards(
      write, plan, located, lambda task: int(located(task)[3].sum())
    )
    if missing:
      return {"waiting": missing, "part": self.options.part}
    return self._complete(
      plan,
      placed=part_counts.placed(self.parts, index, usable),
      per_photo=per_photo.where(usable),
      train_labels=index.labels[usable & ~held_out],
      rejections=left_out,
      skipped=skipped,
    )

  def _write_runs(self) -> int:
    """First pass of the external shuffle; returns how many tasks other parts have."""
    with source_state.recording(self.scratch) as recorder:
      streams = recording.add(self.parts, recorder)
      total: int = sum(stream.size for _, some in streams for stream in some)
      memory: float = (
        self.options.memory
        or scratch.begun(self.destination).get("memory")
        or estimate.memory(total, self.options.shards, self._runner.workers)
      )
      self._begin({"shuffle": "external", "memory": memory}, recorder)
    limit = int(memory * 1e9)
    part, parts = self.options.share()
    groups = (
      (group, number)
      for number, some in streams
      for group in run_files.grouped(some, limit)
    )
    tasks = [(at, *group) for at, group in enumerate(groups)]
    done = run_files.done(self.scratch)
    todo = [task for task in tasks[part::parts] if task[0] not in done]

    def needed() -> int:
      written = sum(path.stat().st_size for path in self.scratch.iterdir())
      return 2 * total - written

    if todo and not self.options.resize:  # The size of downscaled photos is not known.
      estimate.check_space(self.destination, needed())
    write = functools.partial(
      external_shuffle.write_runs, self.scratch, self.selection, limit
    )
    size = sum(stream.size for _, some, _ in todo for stream in some)
    self._run("read", write, todo, needed, size=size)
    done = run_files.done(self.scratch)
    stages.check_done([number for number, *_ in todo], done)
    return sum(number not in done for number, *_ in tasks)

  def _write_shards(
    self,
    write: Callable[[Any], None],
    plan: ShardPlan,
    prepare: Callable[[ShardTask], Any],
    size: Callable[[ShardTask], int],
  ) -> int:
    """Second or only pass; returns how many shards other parts have still to write."""
    part, parts = self.options.share()
    done = shard_writer.done(self.destination)
    todo = {
      name: count
      for name, count in plan.counts.items()
      if scratch.part_number(name) % parts == part and name not in done
    }
    tasks = (prepare(task) for task in plan if task.name in todo)

    def needed() -> int:
      left = todo.keys() - shard_writer.done(self.destination)
      return sum(size(task) for task in plan if task.name in left)

    if todo:
      self._run("pack", write, tasks, needed, photos=sum(todo.values()))
    done = shard_writer.done(self.destination)
    stages.check_done(todo, done)
    return sum(name not in done for name in plan.counts)

  def _run(self, *stage: Any, **amount: Any) -> None:
    """Runs the tasks of a stage, see `stages.Runner`."""
    self._runner.run(*stage, **amount)

  def _begin(self, how: dict[str, Any], recorder: source_state.Recorder) -> None:
    """Begins or resumes; `how` is what data and machine decide."""
    run = {
      "source": self.parts.resolved,
      "classes": self.classes.fingerprint,
      **how,
      **self.options.resume_key(),
      "files": recorder.digest(),
    }
    scratch.begin(self.destination, run, self.options.share(), recorder.path)

  def _complete(self, plan: ShardPlan, **left: Any) -> dict[str, Any]:
    """Writes the last files; `left` is what else `final_files.Written` needs."""
    written = final_files.Written(self.destination, self.parts, [*plan.counts], **left)
    return completion.complete(written, plan, self.options, self.classes)

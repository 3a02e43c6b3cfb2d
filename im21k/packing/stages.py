"""The tasks of a stage -> done, by local processes or by an engine, with progress."""

import collections
import dataclasses
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from im21k import machine
from im21k.packing import beam, estimate, progress, scratch, workers
from im21k.packing.config import PackOptions
from im21k.packing.parts import Parts
from im21k.packing.places import is_path
from im21k.packing.task_file import Place


@dataclasses.dataclass(frozen=True)
class Runner:
  """Runs tasks that read these sources and write to this destination."""

  destination: Path
  options: PackOptions
  parts: Parts

  @property
  def workers(self) -> int:
    return self.options.workers or machine.cores()

  def check(self) -> None:
    """Lets a worker of an engine look at the folders, before anything is packed."""
    if self.options.runner == "beam" and beam.check(self.options.beam_options):
      self._run_beam(bool, ())

  def run(
    self,
    stage: str,
    function: Callable[[Any], None],
    tasks: Iterable[Any],
    needed: Callable[[], int],
    *,
    photos: int | None = None,
    size: int | None = None,
  ) -> None:
    """Runs tasks with a progress bar; an error of a full disk says what is `needed`."""
    shared = workers.Shared.of(self.workers)
    with (
      estimate.explain_full_disk(self.destination, needed),
      progress.show(stage, shared.counts, photos=photos, size=size),
    ):
      try:
        if self.options.runner == "beam":
          self._run_beam(function, tasks)
        else:
          results = workers.run_local(function, tasks, self.workers, shared)
          collections.deque(results, maxlen=0)
      except BaseException:
        scratch.remove_leftovers(self.destination, self.options.share())
        raise

  def _run_beam(self, function: Callable[[Any], object], tasks: Iterable[Any]) -> None:
    paths = {part.path for part in self.parts if is_path(part.path)}
    paths |= {part.source.root for part in self.parts if part.source.root is not None}
    beam.run(
      function,
      tasks,
      self.destination,
      options=self.options.beam_options,
      workers=self.workers,
      places=[Place.of(path) for path in sorted(paths)],
      part=self.options.share()[0],
    )


def check_done(tasks: Collection[Any], done: Collection[Any]) -> None:
  """ChildProcessError if tasks have left nothing here, though the engine says so."""
  left = [task for task in tasks if task not in done]
  if left:
    raise ChildProcessError(
      f"the engine has ended, but files of {len(left):,} of {len(tasks):,} tasks are "
      "not here: source and destination must be on a disk that all machines share; the "
      "same command resumes"
    )

"""The command `sweep`: a config and what to vary -> many runs, and a table of them.

Each run has a work folder and a process of its own. Started again, a sweep runs nothing
twice: what is finished stays, and a run that was stopped continues.
"""

import collections
import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from im21k import lock, targets, words
from im21k.comparing import folders, grid, picture, process, results
from im21k.comparing.folders import Folders, Record
from im21k.comparing.grid import Run
from im21k.hosts import world
from im21k.training import configs as config_files
from im21k.training.outputs import say
from im21k.training.progress import as_time
from im21k.training.signals import StopSignals

RUNS = Path("runs")
_PATIENCE_S = 60.0  # For a run that another process still holds, at the end.
_HELD = "Held"  # The kind of error of a work folder that is in use.


def sweep(
  config: str,
  *,
  over: str | None = None,
  seeds: int = 3,
  workdir: Path | None = None,
  part: str | None = None,
  dry_run: bool = False,
  settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Trains a config with every combination of values and several seeds; compares them.

  Every key of the config can be set for all runs, as in `im21k train`:
  --config.batch_size=32. Started again, it runs nothing twice: finished runs are
  recognised by their settings and data, an unfinished one resumes.

  Args:
    config: Config file, or the name of a shipped config as listed by `im21k configs`.
    over: Key and values to vary, such as schedule.peak=0.1,0.2. Repeat it for further
      keys. Values that contain commas: in brackets, as schedule.rates=[0.1,0.01],[0.2],
      or separated by semicolons. In Python, a line for each key.
    seeds: Runs of each combination, with the config's seed and those that follow it;
      all combinations have the same seeds.
    workdir: Folder of the sweep, with a work folder for each run; runs/NAME-sweep by
      default.
    part: Run only a share of the runs, such as 1/2 here and 2/2 in another terminal or
      on another machine that shares the folder.
    dry_run: List the runs and how far each is; write and train nothing.
    settings: Values by dotted name that take the place of those in the config.

  Returns:
    `workdir`; `runs`: `name`, `workdir`, `values`, `seed`, `part` (whether it is in
    this part), `status` (finished, failed, unfinished, new), `step`, `reason` of a
    failure, scores and costs of each; `cells`: mean and standard deviation of these
    over the seeds, a row for each combination; `files`: of the table and the picture;
    `failed`, if not all of this part are finished; `stopped_by` after a signal.

  Raises:
    ValueError: a key, value or option is wrong, or workdir holds runs of these names
      with other settings; nothing was started then.
    lock.Held: the same part is being run by another process.
  """
  world.check_alone("sweep")
  document = config_files.document(config)
  wanted = grid.runs(document, settings or {}, grid.over(over), seeds)
  mine = grid.share(part, len(wanted))
  root = workdir or RUNS / f"{config_files.find(config).stem}-sweep"
  targets.check_folder([], workdir=root)
  if (root / "config.json").exists():
    raise ValueError(
      f"workdir is {root}, which holds a run itself: name another folder"
    )
  with contextlib.ExitStack() as held, StopSignals() as signals:
    if not dry_run:
      held.enter_context(_part(root, part))
    one = Sweep(root, wanted, mine, signals)
    if not dry_run and not signals.stop:
      one.run()
    return one.result(dry_run)


def text(result: dict[str, Any]) -> str:
  """The result of `sweep` for people."""
  lines = results.table(result["cells"])
  if result["dry_run"]:
    lines = [
      f"{run['name']}: {results.status(run)}{'' if run['part'] else ', another part'}"
      for run in result["runs"]
    ]
  lines += [""] if lines else []
  lines += [
    f"{run['name']}: {results.status(run)}"
    for run in result["runs"]
    if run["status"] != "finished" and run["part"] and not result["dry_run"]
  ]
  counts = collections.Counter(run["status"] for run in result["runs"])
  each = ", ".join(f"{number:,} {status}" for status, number in counts.items())
  lines.append(f"{words.counted(len(result['runs']), 'run')}: {each}")
  lines += [f"{name}: {path}" for name, path in result["files"].items()]
  return "\n".join(lines)


@contextlib.contextmanager
def _part(root: Path, part: str | None) -> Iterator[None]:
  """Holds this part of the sweep, so that nobody runs the same at once."""
  name = f".sweep-{(part or '1/1').replace('/', '-of-')}.lock"
  what = f"sweeping part {part}" if part else "sweeping"
  with lock.hold(root, what, name):
    yield


class Sweep:
  """The runs of a sweep in their folders."""

  def __init__(
    self, root: Path, runs: list[Run], mine: list[int], signals: StopSignals
  ):
    """Checks every run, and finds its folder; nothing is written.

    Raises:
      ValueError: a run is refused, or a folder holds another.
    """
    self._root, self._runs, self._mine, self._signals = root, runs, mine, signals
    self._totals: list[int] = []
    self._places: list[Path] = []
    self._seconds: list[float] = []  # of the runs that have ended here
    checked = process.check(runs, signals)
    if signals.stop:
      return
    known = Folders(root)
    for run in runs:
      self._totals.append(checked[run.cell]["total"])
      self._places.append(known.find(run, checked[run.cell]["hashes"]))
    self._rows()  # An error of a damaged file now, not after hours.

  def run(self) -> None:
    """Trains what is not finished, one run after another, until a signal comes."""
    waiting = collections.deque(at for at in self._mine if not self._is_done(at))
    say(
      f"sweep {self._root}: {words.counted(len(self._runs), 'run')}, "
      f"{len(self._mine):,} in this part, {len(waiting):,} to do"
    )
    deferred: set[int] = set()
    since = time.monotonic()
    while waiting and not self._signals.stop:
      at = waiting.popleft()
      if not self._is_done(at) and not self._train(at, len(waiting)):
        # Another process trains there, or one that was killed is still saving.
        if at not in deferred:
          say(f"{self._runs[at].name} is in use by another process: tried again later")
          deferred.add(at)
        waiting.append(at)
        if deferred >= set(waiting):
          if time.monotonic() - since > _PATIENCE_S:
            return
          time.sleep(1)
      else:
        deferred.discard(at)
        since = time.monotonic()
        rows = self._rows()
        results.write(self._root, results.cells(rows), rows)

  def _is_done(self, at: int) -> bool:
    """Whether a run need not be started: it is finished, or would diverge again."""
    place = self._places[at]
    return folders.is_finished(place, self._totals[at]) or Record(place).diverged

  def _train(self, at: int, left: int) -> bool:
    """Trains one run; returns whether nobody else does."""
    run, place = self._runs[at], self._places[at]
    if not folders.is_free(place):
      return False
    begun = folders.last_step(place)
    resumes = f" resumes at step {begun}" if begun else " begins"
    say(f"run {at + 1} of {len(self._runs)}{resumes}: {place}")
    record = Record(place)
    record.begin()
    request = {"do": "train", "config": run.config.to_dict(), "workdir": str(place)}
    outcome = process.ask(request, self._signals)
    answer = outcome.answer
    if answer.get("kind") == _HELD:
      record.drop()
      return False
    is_stopped = self._signals.stop and not answer.get("finished")
    failed = None
    if "error" in answer and not is_stopped:
      failed = {"reason": answer["error"], "kind": answer["kind"]}
    record.end(outcome.seconds, outcome.processor_s, failed)
    took = as_time(outcome.seconds)
    if failed:
      say(f"run {at + 1} failed after {took}: {failed['reason']}")
    elif not is_stopped:
      self._seconds.append(outcome.seconds)
      rest = as_time(left * sum(self._seconds) / len(self._seconds))
      say(f"run {at + 1} finished in {took}; about {rest} left for {left:,} more")
    return True

  def result(self, dry_run: bool) -> dict[str, Any]:
    """What `sweep` returns; writes the table and the picture."""
    result: dict[str, Any] = {"workdir": str(self._root), "dry_run": dry_run}
    result |= {"cells": [], "runs": [], "files": {}}
    if self._signals.received:
      result["stopped_by"] = self._signals.received
    if not self._places:
      return result
    result["runs"] = self._rows()
    result["cells"] = results.cells(result["runs"])
    if dry_run:
      return result
    result["files"] = results.write(self._root, result["cells"], result["runs"])
    if picture.draw(self._root / picture.PICTURE, result["runs"]):
      result["files"]["picture"] = str(self._root / picture.PICTURE)
    missing = collections.Counter(
      run["status"] for run in result["runs"] if run["part"]
    )
    del missing["finished"]
    if missing:
      each = ", ".join(f"{number:,} {name}" for name, number in missing.items())
      result["failed"] = (
        f"of {words.counted(len(self._mine), 'run')} not all are finished: {each}"
      )
    return result

  def _rows(self) -> list[dict[str, Any]]:
    mine = {*self._mine}
    return [
      {**results.row(run, place, total), "part": at in mine}
      for at, (run, place, total) in enumerate(
        zip(self._runs, self._places, self._totals, strict=True)
      )
    ]

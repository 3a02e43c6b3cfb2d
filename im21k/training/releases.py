"""Release folders that a run writes on its way: `best/` and `latest/`.

In come weights and the rows of metrics until then. Out come whole folders: a reader
sees the one before or the new one, whenever the run is killed.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from im21k import files, weights
from im21k.evaluation import results
from im21k.training.outputs import writing


def replace(path: Path, released: weights.Weights) -> None:
  """Writes a release folder in place of the one that is there.

  The rows of `im21k evaluate` are kept: each says which weights it is about.

  Raises:
    CannotWrite: there is no room, or the place may not be written.
  """
  new, old = (path.with_name(f".{path.name}-{state}") for state in ("new", "old"))
  with writing(path), _removed_on_error(new):
    if old.exists() and not path.exists():  # A process was killed between the two.
      os.rename(old, path)
    for rest in (new, old):
      shutil.rmtree(rest, ignore_errors=True)
    released.save(new)
    if (path / results.CSV).is_file():
      shutil.copyfile(path / results.CSV, new / results.CSV)
      files.sync(new / results.CSV)
    if path.exists():
      os.rename(path, old)
    os.rename(new, path)
    files.sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
  """Frees what part of a folder was written, as when the disk is full."""
  try:
    yield
  except OSError:
    shutil.rmtree(folder, ignore_errors=True)
    raise


def merge(path: Path, into: Path) -> None:
  """Moves the rows of scores of a folder, which is superfluous, and removes it.

  It stays where its rows cannot be read: what is wrong there ends no run.
  """
  with writing(path), contextlib.suppress(ValueError):
    if rows := results.read_rows(path / results.CSV):
      results.add_rows(into / results.CSV, rows)
    shutil.rmtree(path, ignore_errors=True)


def is_best(scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
  """Whether no evaluation in these rows, but that before the first step, is better.

  Those of recalibrated weights do not count: no checkpoint has these.
  """
  earlier = [
    row["eval_top_1"]
    for row in rows
    if row["step"] > 0 and "eval_top_1" in row and "recalibrated" not in row
  ]
  return bool(scores["top_1"] >= max(earlier, default=0.0))

"""Which checkpoints are about to be deleted, noted beside them before it begins.

orbax deletes a checkpoint file by file, once the next one is complete. What a killed
process leaves of it looks like damage; by this note it is told from damage.
"""

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from im21k import files

_FILE = "superseded.json"


class Noting:
  """A preservation policy of orbax that decides as another, and notes what goes."""

  def __init__(self, folder: Path, policy: Any):
    self._folder, self._policy = folder, policy

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> Sequence[bool]:
    """As of the other policy; called before anything is deleted."""
    kept: Sequence[bool] = self._policy.should_preserve(checkpoints, context=context)
    steps = [one.step for one, keep in zip(checkpoints, kept, strict=True) if not keep]
    if steps:
      files.write_text(self._folder / _FILE, json.dumps({"steps": steps}))
    return kept


def remove_rests(folder: Path, incomplete: Iterable[int]) -> set[int]:
  """Removes what is left of checkpoints whose deletion was interrupted.

  Args:
    folder: that of the checkpoints.
    incomplete: steps that are older than a sound checkpoint, and not sound.

  Returns:
    Those of `incomplete` that had been given up, and are gone now.
  """
  rests = _noted(folder).intersection(incomplete)
  for step in rests:
    shutil.rmtree(folder / str(step))
  (folder / _FILE).unlink(missing_ok=True)  # These steps may be saved anew.
  return rests


def _noted(folder: Path) -> set[int]:
  with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
    return {int(step) for step in json.loads((folder / _FILE).read_bytes())["steps"]}
  return set()

"""Where all hosts of a run must be the same before it goes on; on one, nothing is done.

In come a config, a run as it is set up, its state. Out come errors on every host that
say which one differs and in what.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import xxhash

from im21k.hosts import agreement, session
from im21k.hosts.watch import Watch
from im21k.training import keys, resume
from im21k.training.checkpoint import Checkpoints, Restored
from im21k.training.clock import Clock
from im21k.training.config import Config
from im21k.training.setup import Setup
from im21k.training.workdir import Workdir

# Keys that each host may have for itself: places, compared by what is there, and work.
_OWN = ("data", "classes", "init.weights", "eval_data", "threads", "workers")


def check_begin(watch: Watch, config: Config, workdir: Path) -> None:
  """Whether all hosts run the same code and config, in the same work folder."""
  agreement.check_code(watch)
  flat = keys.flat(config.resolved())
  same = {name: str(value) for name, value in flat.items() if name not in _OWN}
  agreement.check(watch, "config", same)
  agreement.check_shared(watch, workdir)


def check_run(run: Setup, latest: int | None) -> None:
  """Whether all have the same data, and would resume at the same step."""
  if watch := session.current():
    # Data may be large, and opening it slow.
    agreement.check(watch, "data", resume.hashes(run), None)
    agreement.check(watch, "last checkpoint", {"step": latest}, None)


def check_state(state: Any, checkpoints: Checkpoints) -> None:
  """Whether all begin with the same parameters."""
  if watch := session.current():
    watch.step = int(state.step)
    watch.last_checkpoint = lambda: _last(checkpoints)
    digest = xxhash.xxh3_128()
    for leaf in jax.tree.leaves(state):
      digest.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    agreement.check(watch, "state", {"parameters": digest.hexdigest()}, None)


def meet(place: str) -> None:
  """Waits until all hosts have come here."""
  if watch := session.current():
    watch.gather(place, True)


def restore(run: Setup, folder: Workdir, checkpoints: Checkpoints) -> Restored | None:
  """State, position and seconds of the last sound checkpoint; None: there is none.

  Of several hosts the first looks which is sound; the others read the same.
  """
  watch = session.current()
  like = run.shapes(), {"example": 0}, Clock().state(), run.devices
  restored = None
  if folder.leads and checkpoints.latest is not None:
    restored = checkpoints.restore(*like, folder.check_checkpoint)
  if watch:
    step = int(restored[0].step) if restored else None
    (step, *_) = watch.gather("the restored step", step)
    if step is not None and not folder.leads:
      restored = checkpoints.read(step, *like)
  return restored


def _last(checkpoints: Checkpoints) -> str:
  """For a line about a lost host."""
  latest = checkpoints.latest
  if latest is None:
    return "; there is no checkpoint yet"
  return f"; the last checkpoint is that of step {latest}"

"""Errors of other libraries in the loop -> one line each, with what can be done."""

import contextlib
import re
from collections.abc import Iterator

from im21k.training.checkpoint import Checkpoints
from im21k.training.outputs import one_line


@contextlib.contextmanager
def dead_workers_in_errors() -> Iterator[None]:
  """One line with the remedy, in place of grain's report of a worker that ended."""
  try:
    yield
  except RuntimeError as error:
    if "terminated unexpectedly" not in str(error):
      raise
    code = re.search(r"exit code (-?[0-9]+)", str(error))
    raise ChildProcessError(
      f"a worker that makes batches has ended with exit code {code and code[1]} (-9: "
      "killed, as for want of memory; -7: /dev/shm is full): free memory, enlarge "
      "/dev/shm or set workers to 0, then run the same command again"
    ) from error


@contextlib.contextmanager
def memory_in_errors() -> Iterator[None]:
  """One line with the remedy, in place of XLA's table of what it could not allocate."""
  try:
    yield
  except Exception as error:
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
      raise
    where = "the machine" if isinstance(error, MemoryError) else "the device"
    raise MemoryError(
      f"out of memory on {where} ({one_line(error)}): raise accumulate; or, in a new "
      "workdir, lower batch_size or set model.remat to block; `im21k plan` estimates "
      "what fits"
    ) from error


@contextlib.contextmanager
def last_checkpoint_in_errors(checkpoints: Checkpoints) -> Iterator[None]:
  """Adds to the error about a loss that is not finite what can be done."""
  try:
    yield
  except FloatingPointError as error:
    raise FloatingPointError(
      f"{error}; the last checkpoint is that of step "
      f"{max(checkpoints.steps(), default=0)}: lower the learning rate, or inspect the "
      "photos that were read there"
    ) from error

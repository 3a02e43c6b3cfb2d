"""Checkpoints of a run: state, position in the data and clock, together, and sealed.

State goes in and comes back as trees of arrays. This file and `alone` import orbax,
which writes in the background; a checkpoint counts once it is complete, so a
killed run continues from the one before. What is restored is compared with the
checksums of what was saved; a damaged checkpoint is set aside for the one before.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from im21k import files
from im21k.training import alone, quiet, seal, superseded
from im21k.training.outputs import one_line, root, say, writing

_POLICIES = ocp.training.preservation_policies
Restored = tuple[Any, dict[str, int], dict[str, float]]  # state, data, clock


class Checkpoints:
  """The checkpoints of one work folder: the latest few, and the best by eval top-1."""

  def __init__(
    self,
    folder: Path,
    keep_latest: int = 2,
    keep_best: int = 1,
    saved: Callable[[int], None] = lambda step: None,
  ):
    """Opens nothing yet.

    Args:
      folder: of all checkpoints.
      keep_latest, keep_best: how many to keep.
      saved: is given the step of each checkpoint that has become complete.
    """
    quiet.silence()
    self._folder, self._keep = folder, (keep_latest, keep_best)
    self._saved = saved
    self._pending: int | None = None  # Step that is being written.
    # Opened at the first save: orbax would fail at the scores of a damaged checkpoint.
    self._checkpointer: ocp.training.Checkpointer | None = None

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    try:
      self.close()
    except Exception:
      if kind is None:  # Else what went wrong first is what matters.
        raise

  @property
  def latest(self) -> int | None:
    """Step of the newest complete checkpoint; None if there is none."""
    return max(self.steps(), default=None)

  def steps(self) -> list[int]:
    """Steps of all complete checkpoints, ascending."""
    names = os.listdir(self._folder) if self._folder.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))

  def save(
    self,
    step: int,
    state: Any,
    data: Mapping[str, int],
    clock: Mapping[str, float],
    scores: Mapping[str, float] | None = None,
    run: Mapping[str, Any] | None = None,
  ) -> None:
    """Starts writing a checkpoint, after the one before is complete.

    Args:
      step: steps taken so far.
      state: tree of arrays; may be donated as soon as this returns.
      data, clock: small dicts of numbers.
      scores: with a `top_1`, by which the best checkpoint is kept.
      run: what the run is, ready for JSON; `restore` gives it to `check`.

    Raises:
      OSError: this checkpoint, or the one before, cannot be written.
    """
    state = alone.movable(state)
    sealed = seal.make(step, state, data, clock, scores, run or {})
    with writing(self._folder, "the checkpoint"), alone.alone():
      self._open().save_checkpointables_async(
        step,
        {"state": state, "data": dict(data), "clock": dict(clock)},
        metrics=scores,
        custom_metadata=sealed,
        force=True,
      )
    self.notice()
    self._pending = step

  def restore(
    self,
    state: Any,
    data: dict[str, int],
    clock: dict[str, float],
    on: Sequence[jax.Device],
    check: Callable[[Path, dict[str, Any]], None] = lambda path, run: None,
  ) -> Restored | None:
    """The latest sound checkpoint, its state on every device; None if there is none.

    Damaged ones are renamed to `damaged-STEP`, and named on standard error; the rest
    of one whose deletion was interrupted is removed.

    Args:
      state, data, clock: give the structure that is expected.
      on: the devices.
      check: raises if a checkpoint, by its path, is of another run than this.

    Raises:
      ValueError: there are checkpoints, but all are damaged; or what `check` raises.
    """
    expected = alone.expected(state, data, clock, on)
    damaged: dict[int, str] = {}
    restored: Restored | None = None
    for step in reversed(self.steps()):
      try:
        if restored is None:
          restored = self._load(step, expected, check)
        else:
          seal.read(self._folder / str(step))
      except seal.Damaged as error:
        damaged[step] = str(error)
    if restored is None:
      if damaged:
        raise ValueError(self._all_damaged(damaged))
      return None
    newest = int(restored[0].step)
    rests = superseded.remove_rests(
      self._folder, [step for step in damaged if step < newest]
    )
    for step, reason in damaged.items():
      if step not in rests:
        self._set_aside(step, reason, newest)
    return restored

  def read(
    self,
    step: int,
    state: Any,
    data: dict[str, int],
    clock: dict[str, float],
    on: Sequence[jax.Device],
  ) -> Restored:
    """One checkpoint; ValueError if it is damaged or does not fit."""
    try:
      return self._load(step, alone.expected(state, data, clock, on), lambda *_: None)
    except seal.Damaged as error:
      raise ValueError(
        f"checkpoint {self._folder / str(step)} is damaged ({error}), or was removed "
        "by its run meanwhile: take another step"
      ) from error

  def notice(self) -> None:
    """Reports the checkpoint that is being written, once it is complete."""
    if self._pending is not None and (self._folder / str(self._pending)).is_dir():
      step, self._pending = self._pending, None
      self._saved(step)

  def close(self) -> None:
    """Waits until all is written; raises what went wrong there."""
    if self._checkpointer is not None:
      with writing(self._folder, "the checkpoint"), alone.alone():
        self._checkpointer.wait()
        self._checkpointer.close()
      self.notice()

  def _open(self) -> ocp.training.Checkpointer:
    if self._checkpointer is None:
      latest, best = self._keep
      by_score = _POLICIES.BestN(
        get_metric_fn=lambda metrics: metrics["top_1"],
        n=best,
        keep_checkpoints_without_metrics=False,
      )
      kept = _POLICIES.AnyPreservationPolicy([_POLICIES.LatestN(latest), by_score])
      self._checkpointer = ocp.training.Checkpointer(
        self._folder.absolute(),
        preservation_policy=superseded.Noting(self._folder, kept),
        cleanup_tmp_directories=True,
      )
    return self._checkpointer

  def _load(
    self,
    step: int,
    expected: dict[str, Any],
    check: Callable[[Path, dict[str, Any]], None],
  ) -> Restored:
    folder = self._folder / str(step)
    body = seal.read(folder)
    if body is not None:
      check(folder, body["run"])
      seal.check_arrays(folder, body, expected["state"])
    seal.check_readable(folder)
    try:
      with alone.alone():
        restored = ocp.load_checkpointables(folder.absolute(), expected)
    except Exception as error:  # orbax and its libraries raise of every kind.
      if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        raise
      raise seal.Damaged(f"it cannot be read: {one_line(root(error))}") from None
    parts = restored["state"], restored["data"], restored["clock"]
    seal.verify(step, body, *parts)
    if body is None:
      say(
        f"im21k: {folder} has no checksums, for an older im21k wrote it: what is read "
        "from it is not verified"
      )
    return parts

  def _set_aside(self, step: int, reason: str, instead: int) -> None:
    """Renames a damaged checkpoint, so that its step can be saved again; says so."""
    names = [f"damaged-{step}", *(f"damaged-{step}-{n}" for n in range(2, 10_000))]
    free = next(name for name in names if not (self._folder / name).exists())
    (self._folder / str(step)).rename(self._folder / free)
    files.sync(self._folder)
    goes_on = f"; the run continues at step {instead}" if step > instead else ""
    say(
      f"im21k: warning: checkpoint {self._folder / str(step)} is damaged ({reason}): "
      f"renamed to {free}{goes_on}"
    )

  def _all_damaged(self, damaged: dict[int, str]) -> str:
    each = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
    return (
      f"every checkpoint in {self._folder} is damaged ({each}): copy a sound one "
      "there, or remove that folder to start from the beginning"
    )

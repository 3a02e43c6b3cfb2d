"""Checkpoints of a run: state, position in the data and clock, together.

State goes in and comes back as trees of arrays. This is the only file that imports
orbax, which writes in the background; a checkpoint counts once it is complete, so a
killed run continues from the one before.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from im21k import parallel

_POLICIES = ocp.training.preservation_policies


class Checkpoints:
  """The checkpoints of one work folder: the latest few, and the best by eval top-1."""

  def __init__(self, folder: Path, keep_latest: int = 2, keep_best: int = 1):
    best = _POLICIES.BestN(
      get_metric_fn=lambda metrics: metrics["top_1"],
      n=keep_best,
      keep_checkpoints_without_metrics=False,
    )
    self._checkpointer = ocp.training.Checkpointer(
      folder.absolute(),
      preservation_policy=_POLICIES.AnyPreservationPolicy(
        [_POLICIES.LatestN(keep_latest), best]
      ),
      cleanup_tmp_directories=True,
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  @property
  def latest(self) -> int | None:
    """Step of the newest complete checkpoint; None if there is none."""
    newest = self._checkpointer.latest
    return None if newest is None else int(newest.step)

  def steps(self) -> list[int]:
    """Steps of all complete checkpoints, ascending."""
    return [int(checkpoint.step) for checkpoint in self._checkpointer.checkpoints]

  def save(
    self,
    step: int,
    state: Any,
    data: Mapping[str, int],
    clock: Mapping[str, float],
    scores: Mapping[str, float] | None = None,
  ) -> None:
    """Starts writing a checkpoint, after the one before is complete.

    Args:
      step: steps taken so far.
      state: tree of arrays; may be donated as soon as this returns.
      data, clock: small dicts of numbers.
      scores: with a `top_1`, by which the best checkpoint is kept.
    """
    self._checkpointer.save_checkpointables_async(
      step,
      {"state": state, "data": dict(data), "clock": dict(clock)},
      metrics=scores,
      force=True,
    )

  def restore(
    self,
    state: Any,
    data: dict[str, int],
    clock: dict[str, float],
    on: Sequence[jax.Device],
  ) -> tuple[Any, dict[str, int], dict[str, float]] | None:
    """The latest checkpoint, its state on every device; None if there is none.

    `state`, `data` and `clock` give the structure that is expected.
    """
    latest = self._checkpointer.latest
    if latest is None:
      return None
    everywhere = parallel.replicated(on)
    shapes = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), state
    )
    restored = self._checkpointer.load_checkpointables(
      latest.step, {"state": shapes, "data": data, "clock": clock}
    )
    return restored["state"], restored["data"], restored["clock"]

  def close(self) -> None:
    """Waits until all is written; raises what went wrong there."""
    self._checkpointer.wait()
    self._checkpointer.close()

"""The steps of a run's phases, each compiled -> what the run needs and how fast it is.

Memory is that of the phase that needs most; the time is the sum over the phases.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from im21k.planning import measured, workload
from im21k.planning import network as networks
from im21k.planning.cards import Gpu
from im21k.planning.compiled import Compiled
from im21k.planning.compiler import Compiler
from im21k.training import policies
from im21k.training.config import Config


@dataclasses.dataclass(frozen=True)
class Phased:
  """The compiled steps of a run with phases, for one card.

  Attributes:
    experiment: the run.
    parts: the step of each phase that the run comes to, in order.
    steps: how many steps each has.
  """

  experiment: Config
  parts: tuple[Compiled, ...]
  steps: tuple[int, ...]

  @property
  def largest(self) -> Compiled:
    """The step that needs most memory."""
    return max(self.parts, key=lambda part: part.needed)

  @property
  def card(self) -> Gpu:
    """The card."""
    return self.largest.card

  @property
  def limit(self) -> int:
    """Bytes of the card's memory that may be used."""
    return self.largest.limit

  @property
  def needed(self) -> int:
    """Bytes that must be free."""
    return self.largest.needed

  def dump(self, folder: Path) -> None:
    """Writes the files of each phase to a folder of its own."""
    for number, part in enumerate(self.parts, 1):
      part.dump(folder / f"phase{number}")

  def report(self) -> dict[str, Any]:
    """As of the step that needs most memory; speed, days and `phases` of all.

    `step_s` and `waiting_share` are means over the run.
    """
    return {**self.largest.report(), **self._speed()}

  def brief(self) -> dict[str, Any]:
    """Those figures that cards are compared by."""
    return {**self.largest.brief(), **self._speed()}

  def on(self, card: Gpu, limit: int) -> "Phased":
    """The same programs on another card, with `limit` bytes of memory."""
    parts = tuple(part.on(card, limit) for part in self.parts)
    return dataclasses.replace(self, parts=parts)

  @property
  def network(self) -> networks.Network:
    """The hosts of the run."""
    return self.largest.network

  def network_bytes(self) -> float:
    """Bytes that leave each host in a step, in the mean."""
    return self._sum(Compiled.network_bytes) / sum(self.steps)

  def over(self, gbit_s: float) -> "Phased":
    """The same programs over a network of another speed."""
    return dataclasses.replace(
      self, parts=tuple(part.over(gbit_s) for part in self.parts)
    )

  def _speed(self) -> dict[str, Any]:
    slow, fast = measured.share()
    low, high, at_peak = (self._seconds(share) for share in (fast, slow, 1.0))
    waiting = self._sum(lambda part: part.waiting_seconds(fast))
    examples = sum(
      part.batch * steps for part, steps in zip(self.parts, self.steps, strict=True)
    )
    examples *= self.experiment.devices * self.network.hosts
    work = workload.find(self.experiment)
    rows = [
      _row(part, count) for part, count in zip(self.parts, self.steps, strict=True)
    ]
    return {
      "images_per_s": [round(examples / high, 1), round(examples / low, 1)],
      "images_per_s_peak": round(examples / at_peak, 1),
      "waiting_share": round(waiting / low, 4),
      "step_s": [round(each / sum(self.steps), 4) for each in (low, high)],
      "days": [round(low / 86400, 3), round(high / 86400, 3)],
      "examples": examples,
      "photos": work.photos,
      "photos_from": work.source,
      "total": workload.total(self.experiment),
      "cores_to_feed": max(row["cores_to_feed"] for row in rows),
      "phases": rows,
    }

  def _seconds(self, share: float) -> float:
    """Time of the run if the card reaches this share of its peaks."""
    return self._sum(lambda part: part.step_seconds(share))

  def _sum(self, of: Callable[[Compiled], float]) -> float:
    """What each step has, over all steps of the run."""
    pairs = zip(self.parts, self.steps, strict=True)
    return sum(steps * of(part) for part, steps in pairs)


def compile(compiler: Compiler, experiment: Config) -> Phased:
  """Compiles the step of each phase that a run comes to.

  With remat `fit` the policies are those of the step with most pixels, as in training.

  Raises:
    ValueError: see `Compiler.compile`, and `course.check`.
  """
  course = experiment.course(workload.find(experiment).photos or 1)
  total = course.steps(experiment.total)
  ends = [*(phase.first for phase in course.phases[1:]), total]
  reached = [
    (phase, min(end, total) - phase.first)
    for phase, end in zip(course.phases, ends, strict=True)
    if phase.first < total
  ]
  done: dict[tuple[int, int], Compiled] = {}
  hosts = compiler.network.hosts
  if policies.is_open(experiment):
    largest = experiment.largest()
    first = compiler.compile(*_alone(largest, hosts))
    done[largest.image_size, largest.batch_size] = first
    remat = first.experiment.model["remat"]
    experiment = experiment.changed({"model.remat": remat})
  sizes = [(phase.image_size, phase.batch_size) for phase, _ in reached]
  missing = [size for size in dict.fromkeys(sizes) if size not in done]
  made = compiler.compile_all(
    [_alone(experiment.alone(*size), hosts) for size in missing]
  )
  done |= zip(missing, made, strict=True)
  parts = tuple(done[size] for size in sizes)
  return Phased(experiment, parts, tuple(steps for _, steps in reached))


def _alone(experiment: Config, hosts: int) -> tuple[Config, int]:
  return experiment, max(1, experiment.batch_size // (experiment.devices * hosts))


def _row(part: Compiled, steps: int) -> dict[str, Any]:
  slow, fast = measured.share()
  together = part.batch * part.experiment.devices * part.network.hosts
  low, high = part.step_seconds(fast), part.step_seconds(slow)
  return {
    "image_size": part.experiment.image_size,
    "batch": part.batch,
    "steps": steps,
    "examples": together * steps,
    "needed_mib": part.brief()["needed_mib"],
    "fits": part.fits,
    "images_per_s": [round(together / high, 1), round(together / low, 1)],
    "days": [round(steps * s / 86400, 3) for s in (low, high)],
    "cores_to_feed": round(measured.cores_to_feed(together / low), 2),
  }

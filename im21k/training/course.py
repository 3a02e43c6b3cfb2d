"""The steps of a run: photos and batch of each, and durations in steps.

In come sizes by phase and durations in any unit. Out come steps, and the examples that
were trained on by then. Where the batch never changes, steps are those of `durations`.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

from im21k import words
from im21k.training.durations import Duration, Durations

_Section = TypeVar("_Section")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
  """Steps with photos and batches of one size.

  Attributes:
    first: steps taken before it.
    example: examples that these trained on, with the next of which it begins.
    image_size: side of the model's input, pixels.
    batch_size: examples a step, over all devices.
  """

  first: int
  example: int
  image_size: int
  batch_size: int

  @property
  def pixels(self) -> int:
    """Of a batch: what the time of a step grows with."""
    return self.batch_size * self.image_size**2


@dataclasses.dataclass(frozen=True)
class Course:
  """The phases of a run, in order.

  Attributes:
    phases: no two that follow each other are alike.
    train_examples: examples an epoch.
  """

  phases: tuple[Phase, ...]
  train_examples: int

  @property
  def is_even(self) -> bool:
    """Whether all batches are of one size."""
    return len({phase.batch_size for phase in self.phases}) == 1

  @property
  def summary(self) -> str:
    """Its batches in a few words: `of 64 photos`, or `in 3 phases`."""
    if len(self.phases) > 1:
      return f"in {len(self.phases)} phases"
    return f"of {words.counted(self.phases[0].batch_size, 'photo')}"

  def lines(self, total: int) -> list[str]:
    """What each phase of a run of `total` steps is; nothing if there is one alone."""
    each = [
      f"from step {phase.first}: {phase.image_size} pixels, "
      f"{words.counted(phase.batch_size, 'photo')} a step"
      + ("" if phase.first < total else ", which this run ends before")
      for phase in self.phases
    ]
    return each if len(each) > 1 else []

  def at(self, step: int) -> Phase:
    """The phase of the step that follows `step` others."""
    return self.phases[self._index(step)]

  def begins(self, step: int) -> bool:
    """Whether a phase begins after so many steps; not the first."""
    return step > 0 and self.at(step).first == step

  def examples(self, step: int) -> int:
    """Examples that the first `step` steps train on."""
    phase = self.at(step)
    return phase.example + (step - phase.first) * phase.batch_size

  def steps(self, duration: Duration) -> int:
    """The nearest whole number of steps, at least 1."""
    if duration.unit == "steps" or self.is_even:
      return duration.steps(self.phases[0].batch_size, self.train_examples)
    each = self.train_examples if duration.unit == "epochs" else 1
    wanted = duration.amount * each
    starts = [phase.example for phase in self.phases]
    phase = self.phases[bisect.bisect_right(starts, wanted) - 1]
    return max(1, phase.first + round((wanted - phase.example) / phase.batch_size))

  def every(self, duration: Duration) -> "Every":
    """The steps at which something is due that recurs after this duration."""
    return Every(
      self,
      tuple(
        duration.steps(phase.batch_size, self.train_examples) for phase in self.phases
      ),
      duration.unit == "steps",
    )

  def in_steps(self, section: _Section) -> _Section:
    """A section of the config with all its durations in steps."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(section):  # type: ignore[arg-type]  # a dataclass
      value = getattr(section, field.name)
      if isinstance(value, Duration):
        changed[field.name] = Duration(self.steps(value), "steps")
      elif isinstance(value, Durations):
        ends = [self.steps(Duration(one, value.unit)) for one in value.amounts]
        changed[field.name] = Durations(tuple(ends), "steps")
    return dataclasses.replace(section, **changed)  # type: ignore[type-var]

  def work(self, start: int, stop: int) -> float:
    """Pixels of the steps from `start` to `stop`, in steps of the last phase."""
    ends = [*(phase.first for phase in self.phases[1:]), max(start, stop)]
    last = self.phases[-1].pixels
    return sum(
      max(0, min(stop, end) - max(start, phase.first)) * (phase.pixels / last)
      for phase, end in zip(self.phases, ends, strict=True)
    )

  def _index(self, step: int) -> int:
    return bisect.bisect_right([phase.first for phase in self.phases], step) - 1


@dataclasses.dataclass(frozen=True)
class Every:
  """Steps at which something is due.

  Where the batch changes, periods in epochs or examples go on from the last one.

  Attributes:
    course: of the run.
    periods: steps from one to the next, in each phase.
    in_steps: whether these are the same whatever the batch.
  """

  course: Course
  periods: tuple[int, ...]
  in_steps: bool = False

  def due(self, step: int) -> bool:
    """Whether it is due after so many steps; after none it is."""
    return self.count(step) > self.count(step - 1)

  def count(self, step: int) -> int:
    """How often it was due after the first step, until after so many; before it, −1."""
    if step < 0:
      return -1
    if self.in_steps or self.course.is_even:
      return step // self.periods[0]
    count = last = 0
    ends = [*(phase.first for phase in self.course.phases[1:]), step]
    for phase, end, period in zip(self.course.phases, ends, self.periods, strict=True):
      if 0 < step <= phase.first:  # None of its steps has been taken.
        break
      until = self.course.examples(min(step, end))
      passed = (until - last) // (period * phase.batch_size)
      count, last = count + passed, last + passed * period * phase.batch_size
    return count


def of(
  sizes: Sequence[tuple[int, int]], until: Durations, train_examples: int
) -> Course:
  """The course of a run with phases.

  Args:
    sizes: side of the photos and batch, of each phase.
    until: ends of all but the last.
    train_examples: examples an epoch.

  A phase that has no step after rounding is left out; `check` refuses it.
  """
  phases: list[Phase] = []
  first = example = 0
  ends = [*until.amounts, None]
  for (image_size, batch_size), end in zip(sizes, ends, strict=True):
    one = Phase(
      first=first, example=example, image_size=image_size, batch_size=batch_size
    )
    before = phases[-1] if phases else None
    if before and before.first == first:
      phases.pop()
      before = phases[-1] if phases else None
    alike = before and (before.image_size, before.batch_size)
    if alike != (image_size, batch_size):
      phases.append(one)
    if end is not None:
      course = Course(tuple(phases), train_examples)
      last = first
      first = max(first, course.steps(Duration(end, until.unit)))
      example += (first - last) * batch_size
  return Course(tuple(phases), train_examples)


def check(course: Course, until: Durations) -> None:
  """ValueError if a phase has no step."""
  ends = [course.steps(Duration(end, until.unit)) for end in until.amounts]
  if any(a >= b for a, b in itertools.pairwise(ends)):
    raise ValueError(
      f"phases.until is after {', '.join(map(str, ends))} steps: each phase needs at "
      "least one"
    )


def steady(image_size: int, batch_size: int, train_examples: int) -> Course:
  """The course of a run whose photos and batches never change."""
  one = Phase(first=0, example=0, image_size=image_size, batch_size=batch_size)
  return Course((one,), train_examples)

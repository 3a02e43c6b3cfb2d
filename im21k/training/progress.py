"""What a run does -> lines of a log; on a terminal a bar, with notes above it.

In come rows of metrics and the beginnings and ends of pauses. Out come lines of at most
120 characters on standard error, from which alone a run can be followed.
"""

import collections
import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tqdm import tqdm

from im21k import words
from im21k.training.course import Course, Every
from im21k.training.outputs import STAMP, Notes, say

LONGEST = 120  # Characters of a line of measurements, its time included.
_RECENT = 10  # Rows over which the speed is averaged.
_UNKNOWN = "?"


class Progress:
  """Shows how far a run is: a bar on a terminal, else a line for each row."""

  def __init__(
    self, total: int, start: int, course: Course, eval_every: Every | None = None
  ):
    """Begins at step `start` of `total`.

    Args:
      total: steps of the run.
      start: steps taken before, by runs that this one resumes.
      course: of the run.
      eval_every: steps of evaluations, of which one more is at the end; None: there
        are none.
    """
    self._total, self._course = total, course
    self._eval_every = eval_every
    self._evaluated = (-1, 0.0)  # Step of the last evaluation, seconds of all its sets.
    self._start = self._last = start
    # Work, in steps of the last phase, and seconds of recent rows, without pauses.
    self._recent: collections.deque[tuple[float, float]] = collections.deque(
      maxlen=_RECENT
    )
    self._bar = tqdm(
      total=total, initial=start, desc="train", unit=" steps", disable=None,
      file=Notes(),
    )  # fmt: skip

  def close(self) -> None:
    """Leaves the bar as it is."""
    self._bar.close()

  def step(self) -> None:
    """Counts a step that has been started."""
    self._bar.update()

  def row(self, row: Mapping[str, Any]) -> None:
    """Shows a row of metrics of training."""
    step = row["step"]
    first = self._last
    if first == self._start or self._course.begins(first):
      first += 1  # The first step is part of the compilation.
    self._last = step
    measured = bool(step > first and row["images_per_s"])
    if measured:
      images = self._course.examples(step) - self._course.examples(first)
      work = self._course.work(first, step)
      self._recent.append((work, images / row["images_per_s"]))
    if not self._bar.disable:
      self._bar.set_postfix(loss=row["loss"], top_1=row["train_top_1"])
      return
    speed = f"{row['images_per_s']:.4g}" if measured else _UNKNOWN
    wait = f"{row['data_wait_share']:.0%}" if measured else _UNKNOWN
    left = self.seconds_left(step)
    say(
      _fitted(
        f"step {step}/{self._total}",
        f"epoch {row['epoch']:.2f}",
        f"loss {row['loss']:.4f}" if row["loss"] < 1000 else f"loss {row['loss']:.3g}",
        f"top-1 {row['train_top_1']:.1%}",
        f"rate {row['lr']:.3g}",
        f"{_plain(speed)} images/s",
        f"data wait {wait}",
        f"left {_UNKNOWN if left is None else as_time(left)}",
      )
    )

  def seconds_left(self, step: int) -> float | None:
    """Seconds to the end from this step, whose evaluation is to come if one is due.

    By recent rows and the last evaluation; None before there are rows. Saving and
    compilation are left out.
    """
    left = self._course.work(step, self._total)
    done = sum(work for work, _ in self._recent)
    seconds = sum(seconds for _, seconds in self._recent)
    if left > 0 and not done:
      return None
    evaluations = 0
    if every := self._eval_every:
      evaluations = every.count(self._total - 1) - every.count(step - 1) + 1
    training = left * seconds / done if left > 0 else 0.0
    return training + evaluations * self._evaluated[1]

  @contextlib.contextmanager
  def compiling(self, step: int = 0) -> Iterator[None]:
    """Says that the step is compiled, and at the end how long that took."""
    phase = self._course.at(step)
    sizes = (
      f" for {phase.image_size} pixels, {words.counted(phase.batch_size, 'photo')}"
    )
    say(f"compiling the training step{sizes if self._course.phases[1:] else ''} …")
    begun = time.monotonic()
    yield
    say(f"compiled in {as_time(time.monotonic() - begun)}, the first step included")

  @contextlib.contextmanager
  def evaluating(
    self, step: int, photos: int, name: str = ""
  ) -> Iterator[dict[str, Any]]:
    """Says that photos are evaluated; then the scores that the body put in the dict.

    `name` is that of a set of `eval_data`; without, they are those that `data` holds
    out.
    """
    what = words.counted(photos, "photo" if name else "held-out photo")
    say(f"evaluating {what}{f' of {name}' if name else ''} at step {step} …")
    scores: dict[str, Any] = {}
    begun = time.monotonic()
    yield scores
    took = time.monotonic() - begun
    before = self._evaluated[1] if self._evaluated[0] == step else 0.0
    self._evaluated = step, before + took
    bad = f", {scores['bad']:,} unreadable" if scores["bad"] else ""
    bad += f", {scores['unknown']:,} of unknown classes" if scores["unknown"] else ""
    say(
      _fitted(
        f"evaluated{f' {name}' if name else ''} at step {step}/{self._total}",
        f"loss {scores['loss']:.5g}",
        *(f"top-{k} {scores[f'top_{k}']:.2%}" for k in (1, 5)),
        f"{words.counted(scores['count'], 'photo')}{bad}",
        f"in {as_time(took)}",
      )
    )


def as_time(seconds: float) -> str:
  """Seconds as `h:mm:ss`, rounded up: what has not ended is not 0:00:00."""
  minutes, rest = divmod(math.ceil(seconds), 60)
  return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _fitted(first: str, second: str, *parts: str) -> str:
  """Parts as a line; where it would be too long, without `second`."""
  room = LONGEST - len(time.strftime(STAMP)) - 1
  whole = " ".join((first, second, *parts))
  return whole if len(whole) <= room else " ".join((first, *parts))[:room]


def _plain(number: str) -> str:
  """A number as of `.4g`, without an exponent and with separators."""
  if "e" in number or (len(number) > 3 and "." not in number):
    return f"{float(number):,.0f}"
  return number

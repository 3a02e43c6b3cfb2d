"""A loader for each phase of a run -> its training batches, one phase after another."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from im21k.loading.train import TrainIterator, TrainLoader
from im21k.training.course import Course


class Batches(Iterator[dict[str, Any]]):
  """Training batches from an example of the stream on, of the size that is due there.

  Attributes:
    position: index of the next batch's first example.
    bad: records of the stream so far that were replaced.
  """

  def __init__(
    self, loaders: Sequence[TrainLoader], course: Course, position: int, place: Any
  ):
    """Starts the loader of the phase in which `position` is.

    Args:
      loaders: one for each phase of `course`.
      course: of the run.
      position: index of the first example of a batch.
      place: see `TrainLoader.iter_from`.
    """
    self.position, self.bad = position, set[int]()
    self._loaders, self._course, self._place = loaders, course, place
    self._open()

  def close(self) -> None:
    """Ends threads and worker processes; the iterator is then exhausted."""
    self._batches.close()

  def check_bad(self, bad: Collection[int]) -> None:
    """Raises ImageError if more records than allowed are unusable."""
    self._loaders[-1].check_bad(bad)

  def __next__(self) -> dict[str, Any]:
    if self._end is not None and self.position >= self._end:
      self.close()
      self._open()
    batch = next(self._batches)
    self.position = self._batches.position
    return batch

  def _open(self) -> None:
    starts = [phase.example for phase in self._course.phases[1:]]
    index = sum(start <= self.position for start in starts)
    self._end = starts[index] if index < len(starts) else None
    self._batches: TrainIterator = self._loaders[index].iter_from(
      self.position, self._place
    )
    self._batches.bad = self.bad  # Replaced photos are counted over all phases.

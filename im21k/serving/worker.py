"""Photos of many requests -> probabilities, in one thread with a bounded queue."""

import asyncio
import queue
import threading
from concurrent import futures
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from im21k.inference import classify
from im21k.inference.classifier import Classifier
from im21k.inference.classify import Seen

BATCH = 8  # Photos at a time; one that is alone has a program of its own.
MOST_WAITING = 32  # Requests.
Probabilities = Float32[np.ndarray, "b classes"]


class Full(Exception):
  """So many requests wait that another would wait too long."""


class _Job(NamedTuple):
  photos: list[Seen]
  done: futures.Future[Probabilities]


class Worker:
  """Runs the model; everything else only waits for it."""

  def __init__(self, model: Classifier, temperature: float = 1.0):
    """Compiles the program for one photo, and starts the thread.

    Args:
      model: classifies the photos.
      temperature: divides the logits.
    """
    self._model, self._temperature = model, temperature
    self._one = classify.program(model, 1, temperature)
    side = model.weights.input.size
    self._one([Seen("", np.zeros((side, side, 3), np.uint8))])
    self._several = classify.program(model, BATCH, temperature)
    self._jobs: queue.Queue[_Job | None] = queue.Queue(MOST_WAITING)
    self._thread = threading.Thread(target=self._run, name="model", daemon=True)
    self._thread.start()

  async def classify(self, photos: list[Seen]) -> Probabilities:
    """Probabilities `[photos, classes]` of photos with pixels; waits for its turn.

    Raises:
      Full: too many wait already.
    """
    job = _Job(photos, futures.Future())
    try:
      self._jobs.put_nowait(job)
    except queue.Full:
      raise Full from None
    return await asyncio.wrap_future(job.done)

  def stop(self) -> None:
    """Ends the thread after what waits; nothing may be asked for afterwards."""
    self._jobs.put(None)
    self._thread.join()

  def _run(self) -> None:
    while (job := self._jobs.get()) is not None:
      jobs = [job]
      # What has come meanwhile shares the batch.
      while sum(len(one.photos) for one in jobs) < BATCH:
        try:
          more = self._jobs.get_nowait()
        except queue.Empty:
          break
        if more is None:
          self._jobs.put_nowait(None)
          break
        jobs.append(more)
      self._answer([one for one in jobs if one.done.set_running_or_notify_cancel()])

  def _answer(self, jobs: list[_Job]) -> None:
    photos = [photo for job in jobs for photo in job.photos]
    try:
      run = self._one if len(photos) == 1 else self._several
      parts = [run(photos[at : at + BATCH]) for at in range(0, len(photos), BATCH)]
      rows = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    except Exception as error:
      for job in jobs:
        job.done.set_exception(error)
      return
    at = 0
    for job in jobs:
      job.done.set_result(rows[at : at + len(job.photos)])
      at += len(job.photos)

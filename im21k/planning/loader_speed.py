"""A loader -> how fast it makes batches, by wall clock and processor time."""

import multiprocessing
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from im21k import machine, photos, synsets
from im21k.loading.examples import StageTimes
from im21k.loading.scoring import ScoreLoader
from im21k.loading.train import TrainLoader
from im21k.photos import crops

# Share of the cores' time in use above which the cores are the limit.
_BUSY = 0.9


def training(loader: TrainLoader, batch_size: int, seconds: float) -> dict[str, Any]:
  """Measures the loader of training, which reads packed photos only."""
  start = time.perf_counter()
  batches = loader.iter_from(0)
  batch = next(batches)
  first = time.perf_counter() - start
  for _ in range(2 * loader.threads * max(1, loader.workers)):
    next(batches)
  count, wall, cpu = _measure((batch_size for _ in batches), seconds)
  stages = _stages(loader, batch["image"], batch_size)
  busy = cpu / wall / machine.cores()
  return {
    "loader": "training",
    **_rates(count, wall, cpu),
    "stages": stages,
    "first_batch_s": round(first, 2),
    "bad_photos": len(batches.bad),
    "threads": loader.threads,
    "workers": loader.workers,
    "cores_busy": round(busy, 2),
    "limit": _limit(busy, stages, loader.threads * max(1, loader.workers)),
  }


def evaluation(
  data: Path, batch_size: int, image_size: int, threads: int | None, seconds: float
) -> dict[str, Any]:
  """Measures the loader of evaluation, which reads photos of any source."""
  if threads is not None and not 1 <= threads <= machine.MOST_WORKERS:
    raise ValueError(
      f"threads is {threads}, but must be from 1 to {machine.MOST_WORKERS}"
    )
  threads = threads or 2 * machine.cores()
  loader = ScoreLoader(
    photos.open(data, classes=synsets.imagenet21k()),
    synsets.imagenet21k(),
    batch_size=batch_size,
    devices=1,
    image_size=image_size,
    short_side=crops.usual_short_side(image_size),
    threads=threads,
  )
  bad: set[str] = set()

  def sizes() -> Iterator[int]:
    while True:  # Pass after pass, until the time is over.
      read = 0
      for _, items in loader:
        # Without a class a photo is not decoded, though it may be sound.
        bad.update(item.key for item in items if item.error)
        read += sum(not item.error for item in items)
        yield sum(not item.error for item in items)
      if not read:
        raise ValueError(
          f"{data}: no photo can be read, or nothing says their classes: im21k "
          "evaluate lists the reasons"
        )

  batches = sizes()
  start = time.perf_counter()
  next(batches)
  first = time.perf_counter() - start
  count, wall, cpu = _measure(batches, seconds)
  busy = cpu / wall / machine.cores()
  stages = {"all": round(1e3 * cpu / count, 4)}
  return {
    "loader": "evaluation",
    **_rates(count, wall, cpu),
    "stages": stages,
    "first_batch_s": round(first, 2),
    "bad_photos": len(bad),
    "threads": threads,
    "workers": 0,
    "cores_busy": round(busy, 2),
    "limit": _limit(busy, stages, threads),
  }


def _measure(sizes: Iterator[int], seconds: float) -> tuple[int, float, float]:
  """Examples made in so many seconds, the seconds, and the processor time.

  Args:
    sizes: makes a batch, and gives its number of examples.
    seconds: to measure; at least one batch with an example is made.
  """
  count, began, cpu = 0, time.perf_counter(), _cpu_seconds()
  while time.perf_counter() - began < seconds or not count:
    count += next(sizes)
  return count, time.perf_counter() - began, _cpu_seconds() - cpu


def _rates(count: int, wall: float, cpu: float) -> dict[str, float]:
  return {
    "images_per_s": round(count / wall, 1),
    "cpu_ms_per_image": round(1e3 * cpu / count, 3),
  }


def _stages(loader: TrainLoader, image: Any, batch_size: int) -> dict[str, float]:
  """Milliseconds an image by stage, in this thread alone."""
  times, batches = StageTimes(), 4
  began = time.thread_time()
  for index in range(batches):
    loader.batch(index * batch_size, times)
  total = time.thread_time() - began
  stages = dict(times.seconds)
  stages["batch"] = max(0.0, total - sum(stages.values()))
  jax.block_until_ready(jax.device_put(image))
  began = time.perf_counter()
  for _ in range(batches):
    jax.block_until_ready(jax.device_put(image))
  stages["transfer"] = time.perf_counter() - began
  return {k: round(1e3 * v / batches / batch_size, 4) for k, v in stages.items()}


def _limit(busy: float, stages: dict[str, float], makers: int) -> str:
  if busy >= _BUSY:
    largest = max(stages, key=lambda name: stages[name])
    return f"the cores, all busy; most of it to {largest}"
  if makers < machine.cores():
    return "the number of threads and workers: cores are idle"
  return f"waiting for the disk, or for other work: the cores are {busy:.0%} busy"


def _cpu_seconds() -> float:
  """Processor time of this process and its workers."""
  used = resource.getrusage(resource.RUSAGE_SELF)
  seconds = used.ru_utime + used.ru_stime
  for child in multiprocessing.active_children():
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    # User and system time, in clock ticks of 1/100 s.
    seconds += (int(fields[11]) + int(fields[12])) / 100
  return seconds

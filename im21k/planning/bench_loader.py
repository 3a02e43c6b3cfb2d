"""`im21k bench-loader`: packed photos -> how fast this machine makes batches."""

import math
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any, Literal

import jax

from im21k import files, machine
from im21k.dataset import manifest
from im21k.loading.examples import StageTimes
from im21k.loading.train import TrainIterator, TrainLoader

# Share of the cores' time in use above which the cores are the limit.
_BUSY = 0.9


def bench_loader(
  data: Path,
  *,
  batch_size: int = 128,
  image_size: int = 224,
  crop: Literal["straight", "inception"] = "inception",
  order: Literal["blockwise", "global"] = "blockwise",
  threads: int | None = None,
  workers: int | None = None,
  seconds: float = 10.0,
  gpu_images_per_s: float = 1000.0,
  picture: Path | None = None,
) -> dict[str, Any]:
  """Measures how fast the training loader makes batches, and what limits it.

  Args:
    data: Folder of packed photos, written by `im21k pack`.
    batch_size: Examples a batch.
    image_size: Side of an example in pixels.
    crop: Crop a square of the downscaled photo (straight), or a random area and aspect
      (inception).
    order: Shuffle blocks of consecutive records (blockwise: disks), or all records
      (global: SSDs).
    threads: Threads that make batches, in each worker; by default by the number of
      cores.
    workers: Processes that make batches, 0 for threads alone; by default by the number
      of cores.
    seconds: Length of the measurement, after a warm-up of as many batches as are made
      ahead.
    gpu_images_per_s: Images a second that one of your GPUs trains, from which the
      number of cores that it needs is estimated.
    picture: PNG file for a chart of the time by stage.

  Returns:
    `images_per_s`, `cpu_ms_per_image`, `stages` (ms an image by name), `first_batch_s`,
    `threads`, `workers`, `cores`, `limit` (what limits it) and `cores_for_gpus` (by
    number of GPUs).

  Raises:
    ValueError: an argument is wrong, or the photos are not packed.
  """
  if not (data / manifest.MANIFEST).is_file():
    raise ValueError(
      f"{data} is no folder of packed photos, and training reads no others: pack them "
      f"with `im21k pack {data} FOLDER`, and measure FOLDER"
    )
  if not seconds > 0:
    raise ValueError(f"seconds is {seconds}, but must be more than 0")
  if not 0 < gpu_images_per_s < math.inf:
    raise ValueError(f"gpu_images_per_s is {gpu_images_per_s}, but must be more than 0")
  start = time.perf_counter()
  loader = TrainLoader(
    data,
    batch_size=batch_size,
    image_size=image_size,
    crop=crop,
    order=order,
    threads=threads,
    workers=workers,
    max_bad_share=1.0,
  )
  batches = loader.iter_from(0)
  batch = next(batches)
  first = time.perf_counter() - start
  for _ in range(2 * loader.threads * max(1, loader.workers)):
    next(batches)
  count, wall, cpu = _measure(batches, batch_size, seconds)
  stages = _stages(loader, batch["image"], batch_size)
  cores = machine.cores()
  each = cpu / count
  busy = cpu / wall / cores
  return {
    "images_per_s": round(count / wall, 1),
    "cpu_ms_per_image": round(1e3 * each, 3),
    "stages": stages,
    "first_batch_s": round(first, 2),
    "bad_photos": len(batches.bad),
    "threads": loader.threads,
    "workers": loader.workers,
    "cores": cores,
    "cores_busy": round(busy, 2),
    "limit": _limit(busy, stages, loader),
    "cores_for_gpus": {
      str(gpus): round(gpus * gpu_images_per_s * each, 1) for gpus in (1, 2, 4, 8)
    },
    "gpu_images_per_s": gpu_images_per_s,
    **({"picture": str(_draw(picture, stages))} if picture else {}),
  }


def table(result: dict[str, Any]) -> str:
  """Formats the result of `bench_loader` for reading."""
  cores = ", ".join(f"{k}: {v:g}" for k, v in result["cores_for_gpus"].items())
  return "\n".join(
    [
      f"{result['images_per_s']:,.0f} images/s with {result['threads']} threads in "
      f"each of {result['workers'] or 1} processes, on {result['cores']} cores",
      f"{result['cpu_ms_per_image']:.3f} ms of processor time an image; first batch "
      f"after {result['first_batch_s']:.2f} s; {result['bad_photos']} bad photos",
      "of an image's time, ms: "
      + ", ".join(f"{name} {ms:.3f}" for name, ms in result["stages"].items()),
      f"limit: {result['limit']}",
      f"cores needed, by number of GPUs of {result['gpu_images_per_s']:,.0f} images/s: "
      f"{cores}",
    ]
  )


def _measure(
  batches: TrainIterator, batch_size: int, seconds: float
) -> tuple[int, float, float]:
  """Examples made in so many seconds, the seconds, and the processor time."""
  count, began, cpu = 0, time.perf_counter(), _cpu_seconds()
  while time.perf_counter() - began < seconds:
    next(batches)
    count += batch_size
  return count, time.perf_counter() - began, _cpu_seconds() - cpu


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


def _limit(busy: float, stages: dict[str, float], loader: TrainLoader) -> str:
  if busy >= _BUSY:
    largest = max(stages, key=lambda name: stages[name])
    return f"the cores, all busy; most of it to {largest}"
  if loader.threads * max(1, loader.workers) < machine.cores():
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


def _draw(path: Path, stages: dict[str, float]) -> Path:
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 1.8), layout="constrained")
  axes = figure.subplots()
  left = 0.0
  for name, ms in stages.items():
    axes.barh([0], [ms], left=left, label=f"{name} {ms:.3f}")
    left += ms
  axes.set_yticks([])
  axes.set_xlabel("ms an image, one thread")
  figure.legend(loc="outside upper center", ncols=len(stages), fontsize=8)
  with files.whole(path) as aside:
    figure.savefig(aside, format="png", dpi=120)
  return path

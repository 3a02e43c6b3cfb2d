"""`im21k bench-loader`: photos -> how fast this machine makes batches of them."""

import math
from pathlib import Path
from typing import Any, Literal

from im21k import files, machine, targets, words
from im21k.dataset import manifest
from im21k.evaluation import inputs
from im21k.loading.train import TrainLoader
from im21k.planning import loader_speed

_MOST_SECONDS, _MOST_SIZE = 86_400, 4_096  # A day, and a side in pixels.


def bench_loader(
  data: Path,
  *,
  batch_size: int = 128,
  image_size: int = 224,
  crop: Literal["straight", "inception"] | None = None,
  order: Literal["blockwise", "global"] | None = None,
  threads: int | None = None,
  workers: int | None = None,
  seconds: float = 10.0,
  gpu_images_per_s: float = 1000.0,
  picture: Path | None = None,
) -> dict[str, Any]:
  """Measures how fast photos become batches, and what limits it.

  Packed photos go through the loader of training. Others go through that of evaluation,
  which has no `crop`, `order` and `workers`.

  Args:
    data: Photos: a folder from `im21k pack`, of class folders or of photos,
      ILSVRC2012's validation photos, a tar, .rec, .lst, TSV, a prepared TFDS folder or
      tfds:NAME:SPLIT.
    batch_size: Examples a batch.
    image_size: Side of an example in pixels.
    crop: Crop a square of the downscaled photo (straight), or a random area and aspect
      (inception, by default).
    order: Shuffle blocks of consecutive records (blockwise, by default: disks), or all
      records (global: SSDs).
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
    `loader` (training or evaluation), `images_per_s`, `cpu_ms_per_image`, `stages` (ms
    an image by name), `first_batch_s`, `bad_photos`, `threads`, `workers`, `cores`,
    `limit` (what limits it) and `cores_for_gpus` (by number of GPUs).

  Raises:
    ValueError: an argument is wrong, or there are no photos that can be read.
  """
  if not 0 < seconds <= _MOST_SECONDS:
    raise ValueError(
      f"seconds is {seconds}, but must be more than 0 and at most {_MOST_SECONDS}"
    )
  if not 0 < gpu_images_per_s < math.inf:
    raise ValueError(f"gpu_images_per_s is {gpu_images_per_s}, but must be more than 0")
  targets.check([data], picture=picture)
  if not 1 <= image_size <= _MOST_SIZE:
    raise ValueError(f"image_size is {image_size}, but must be from 1 to {_MOST_SIZE}")
  inputs.check_batch(batch_size, image_size)
  for name, value in (("threads", threads), ("workers", workers)):
    if value is not None and value > machine.MOST_WORKERS:
      raise ValueError(f"{name} is {value}, but must be at most {machine.MOST_WORKERS}")
  if (data / manifest.MANIFEST).is_file():
    measured = loader_speed.training(
      TrainLoader(
        data,
        batch_size=batch_size,
        image_size=image_size,
        crop=crop or "inception",
        order=order or "blockwise",
        threads=threads,
        workers=workers,
        max_bad_share=1.0,
      ),
      batch_size,
      seconds,
    )
  else:
    given = {"crop": crop, "order": order, "workers": workers}
    for name, option in given.items():
      if option is not None:
        raise ValueError(
          f"{name} is for packed photos only, which {data} does not hold: leave it out"
        )
    measured = loader_speed.evaluation(data, batch_size, image_size, threads, seconds)
  each = measured["cpu_ms_per_image"] / 1e3
  return {
    **measured,
    "cores": machine.cores(),
    "cores_for_gpus": {
      str(gpus): round(gpus * gpu_images_per_s * each, 1) for gpus in (1, 2, 4, 8)
    },
    "gpu_images_per_s": gpu_images_per_s,
    **({"picture": str(_draw(picture, measured["stages"]))} if picture else {}),
  }


def table(result: dict[str, Any]) -> str:
  """Formats the result of `bench_loader` for reading."""
  cores = ", ".join(f"{k}: {v:g}" for k, v in result["cores_for_gpus"].items())

  def count(key: str, noun: str) -> str:
    number = result[key] or 1 if key == "workers" else result[key]
    return words.counted(number, noun)

  return "\n".join(
    [
      f"{result['images_per_s']:,.0f} images/s with {count('workers', 'process')} "
      f"of {count('threads', 'thread')}, on {count('cores', 'core')}",
      f"{result['cpu_ms_per_image']:.3f} ms of processor time an image; first batch "
      f"after {result['first_batch_s']:.2f} s; {count('bad_photos', 'bad photo')}",
      "of an image's time, ms: "
      + ", ".join(f"{name} {ms:.3f}" for name, ms in result["stages"].items()),
      f"limit: {result['limit']}",
      f"cores needed, by number of GPUs of {result['gpu_images_per_s']:,.0f} images/s: "
      f"{cores}",
    ]
  )


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

"""What `gpu.py` runs in processes of their own: `gpu_child.py TASK JSON`.

Each task prints messages (`gpu_processes.MARK` and JSON), the last time one with its
result or `error`. JAX's memory, cache and flags come by the environment.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_processes


def say(**message: Any) -> None:
  """Sends a message to the parent."""
  print(gpu_processes.MARK + json.dumps(message), flush=True)


def asked() -> dict[str, Any] | None:
  """The parent's next message; None: there is none any more."""
  line = sys.stdin.readline()
  message: dict[str, Any] | None = json.loads(line) if line else None
  return message


def probe(_: dict[str, Any]) -> None:
  """Reports the device, versions, and modules that are missing."""
  import importlib.metadata

  import jax

  device = jax.local_devices()[0]
  stats = device.memory_stats() or {}
  versions = {}
  for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "torch"):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      versions[name] = importlib.metadata.version(name)
  missing = {}
  for part, modules in {
    "all": ("flax", "optax", "jaxtyping", "cv2", "simplejpeg", "safetensors"),
    "runs": (
      "grain", "array_record", "orbax.checkpoint", "tyro", "xxhash", "scipy",
      "matplotlib", "jinja2", "tqdm", "PIL", "absl",
    ),
    "torch": ("torch",),
  }.items():  # fmt: skip
    missing[part] = [name for name in modules if not _is_there(name)]
  cards, card = [], None
  if not missing["all"]:
    from im21k.planning import cards as listed

    cards = list(listed.GPUS)
    with contextlib.suppress(ValueError):
      card = listed.get(device.device_kind).name
  say(
    platform=device.platform,
    kind=device.device_kind,
    memory=stats.get("bytes_limit"),
    versions=versions,
    cards=cards,
    card=card if card in cards else None,
    missing=missing,
  )


def _is_there(module: str) -> bool:
  import importlib.util

  try:
    return importlib.util.find_spec(module) is not None
  except ImportError:
    return False


def compile_program(options: dict[str, Any]) -> None:
  """Compiles a program into the cache; reports its memory and estimate."""
  import gpu_step

  start = time.perf_counter()
  step = gpu_step.Step(options)
  compiled = step.compile()
  seconds = time.perf_counter() - start
  say(
    compile_s=round(seconds, 1),
    needed_mib=gpu_step.needed_mib(compiled),
    **gpu_step.estimate(step, compiled, options["card"]),
  )


def measure(options: dict[str, Any]) -> None:
  """Loads a program, then runs as many steps as asked, and reports after each time."""
  import gpu_step

  step = gpu_step.Step(options)
  step.load()
  say(ready=True)
  while message := asked():
    say(**step.run(message["steps"]))


def limited(options: dict[str, Any]) -> None:
  """Runs steps and reports every loss; or what could not be allocated."""
  import gpu_step

  for name, action in (
    ("array", lambda: gpu_step.allocate(options["array_mib"])),
    ("steps", lambda: gpu_step.losses(options)),
  ):
    if name == "array" and not options["array_mib"]:
      continue
    try:
      say(**{name: action()})
    except Exception as error:
      if "RESOURCE_EXHAUSTED" not in str(error) and not isinstance(error, MemoryError):
        raise
      say(**{name: {"exhausted": _one_line(error)}})


def predict(options: dict[str, Any]) -> None:
  """What `im21k plan` says without the GPU."""
  import gpu_step

  say(**gpu_step.predict(options))


def photos(options: dict[str, Any]) -> None:
  """Makes JPEGs of ImageNet's size from the sample photos, and packs them."""
  import pack as bench_pack

  from im21k.packing.pack import pack

  folder, root = Path(options["folder"]), Path(__file__).parent.parent
  bench_pack.make_photos(
    root / "data" / "sample_photos", folder / "jpegs", options["count"]
  )
  pack(folder / "jpegs", folder / "packed", shards=8)
  say(packed=str(folder / "packed"))


def _one_line(error: BaseException) -> str:
  text = " ".join(str(error).split()) or "no message"
  return f"{type(error).__name__}: {text}"[:300]


TASKS: dict[str, Callable[[dict[str, Any]], None]] = {
  "probe": probe,
  "compile": compile_program,
  "measure": measure,
  "limited": limited,
  "predict": predict,
  "photos": photos,
}


def main() -> None:
  task, options = sys.argv[1], json.loads(sys.argv[2])
  os.nice(int(os.environ.get("IM21K_NICE", "0")))
  if task == "torch":
    import gpu_torch

    TASKS["torch"] = gpu_torch.measure
  try:
    TASKS[task](options)
  except Exception as error:  # A row says why its figure is missing.
    import traceback

    traceback.print_exc()
    say(error=_one_line(error))


if __name__ == "__main__":
  main()

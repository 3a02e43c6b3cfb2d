"""The card list: a name, or a JSON file -> a card's datasheet, for the compiler too.

A JSON file has the fields of `Gpu`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from im21k.models.registry import nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
  """A card's datasheet.

  Attributes:
    name: name for messages and tables.
    capability: CUDA compute capability that code is compiled for, major and minor.
    multiprocessors: number of streaming multiprocessors.
    cores: float32 units of each multiprocessor.
    clock_ghz: clock under load (boost).
    memory_gib: memory of the card, GiB.
    bandwidth_gbs: bandwidth of that memory, GB/s.
    l2_mib: second-level cache, MiB.
    float32_tflops: peak of convolutions and products of float32 arrays, which is
      TF32's on cards that have it: XLA uses it there by default.
    bfloat16_tflops: the same for bfloat16 with float32 sums; no faster than float32
      on cards older than Ampere, which compute it in float32.
  """

  name: str
  capability: tuple[int, int]
  multiprocessors: int
  cores: int
  clock_ghz: float
  memory_gib: float
  bandwidth_gbs: float
  l2_mib: float
  float32_tflops: float
  bfloat16_tflops: float

  @property
  def memory(self) -> int:
    """Memory of the card in bytes."""
    return int(self.memory_gib * 2**30)

  def flops_per_second(self, dtype: str) -> float:
    """Peak arithmetic for a model's `dtype`, FLOP/s."""
    tera = self.bfloat16_tflops if dtype == "bfloat16" else self.float32_tflops
    return tera * 1e12

  def target_config(self) -> str:
    """XLA's description of the card: a GpuTargetConfigProto in text form.

    Limits that are not fields here are those of compute capability 7.5; they affect
    the shape of kernels, not the memory that a program needs.
    """
    major, minor = self.capability
    device = {
      "threads_per_block_limit": 1024,
      "threads_per_warp": 32,
      "shared_memory_per_block": 48 << 10,
      "shared_memory_per_block_optin": 64 << 10,
      "shared_memory_per_core": 64 << 10,
      "threads_per_core_limit": 1024,
      "core_count": self.multiprocessors,
      "fpus_per_core": self.cores,
      "block_dim_limit_x": 2**31 - 1,
      "block_dim_limit_y": 2**16 - 1,
      "block_dim_limit_z": 2**16 - 1,
      "thread_dim_limit_x": 1024,
      "thread_dim_limit_y": 1024,
      "thread_dim_limit_z": 64,
      "registers_per_core_limit": 64 << 10,
      "registers_per_block_limit": 64 << 10,
      "memory_bandwidth": int(self.bandwidth_gbs * 1e9),
      "l2_cache_size": int(self.l2_mib * 2**20),
      "clock_rate_ghz": self.clock_ghz,
      "device_memory_size": self.memory,
      "device_vendor": "NVIDIA Corporation",
      "platform_version": f"sm_{major}{minor}",
      "device_address_bits": 64,
      "pcie_bandwidth": 16 * 10**9,
      "name": self.name,
      "driver_version": "12.9.0",
      "runtime_version": "12.9.0",
      "compile_time_toolkit_version": "12.9.0",
      "dnn_version": "9.10.2",
    }
    fields = " ".join(f"{key}: {json.dumps(value)}" for key, value in device.items())
    return (
      f"gpu_device_info {{ {fields} "
      f"cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
      'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 2 } '
      f"device_description_str: {json.dumps(self.name)}"
    )


_MOST = 1e9  # Of any figure of a card.
# Capability, multiprocessors, cores, GHz, GiB, GB/s, MiB of L2, and both peaks in
# TFLOP/s: datasheet figures, dense, GeForce's with float32 sums.
_ROWS: dict[str, tuple[Any, ...]] = {
  "gtx1650": ((7, 5), 14, 64, 1.665, 4, 128, 1, 3.0, 3.0),
  "rtx3050-4gb": ((8, 6), 16, 128, 1.74, 4, 192, 2, 7.1, 14.2),
  "gtx1080ti": ((6, 1), 28, 128, 1.582, 11, 484, 2.75, 11.3, 11.3),
  "rtx2080ti": ((7, 5), 68, 64, 1.545, 11, 616, 5.5, 13.4, 13.4),
  "rtx3060": ((8, 6), 28, 128, 1.777, 12, 360, 3, 12.7, 25.5),
  "rtx3090": ((8, 6), 82, 128, 1.695, 24, 936, 6, 35.6, 71.2),
  "rtx4090": ((8, 9), 128, 128, 2.52, 24, 1008, 72, 82.6, 165.2),
  "t4": ((7, 5), 40, 64, 1.59, 16, 320, 4, 8.1, 8.1),
  "l4": ((8, 9), 58, 128, 2.04, 24, 300, 48, 60.0, 121.0),
  "v100": ((7, 0), 80, 64, 1.53, 16, 900, 6, 15.7, 15.7),
  "a100": ((8, 0), 108, 64, 1.41, 40, 1555, 40, 156.0, 312.0),
  "h100": ((9, 0), 132, 128, 1.98, 80, 3350, 50, 494.0, 989.0),
}
_FIELDS = tuple(field.name for field in dataclasses.fields(Gpu) if field.name != "name")
GPUS = {
  name: Gpu(name=name, **dict(zip(_FIELDS, row, strict=True)))
  for name, row in _ROWS.items()
}


def get(name: str) -> Gpu:
  """The card of this name, or in this JSON file.

  Raises:
    ValueError: no such card or file, or a field is missing, unknown or wrong.
  """
  if name in GPUS:
    return GPUS[name]
  path = Path(name)
  if not path.is_file():
    hint = nearest(name, tuple(GPUS))
    raise ValueError(f"no card and no file is named {name!r}{hint}")
  try:
    given = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path} is not JSON: {error}") from None
  fields = {field.name for field in dataclasses.fields(Gpu)}
  if not isinstance(given, dict) or set(given) != fields:
    keys = set(given) if isinstance(given, dict) else set()
    raise ValueError(
      f"{path} must be an object of just {', '.join(sorted(fields))}; missing: "
      f"{', '.join(sorted(fields - keys)) or 'none'}; unknown: "
      f"{', '.join(sorted(keys - fields)) or 'none'}"
    )
  numbers = [*given["capability"]] if isinstance(given["capability"], list) else []
  if len(numbers) != 2 or not all(type(n) is int and 0 <= n < 100 for n in numbers):
    raise ValueError(f"{path}: capability must be [major, minor], as in [8, 6]")
  for key in fields - {"name", "capability"}:
    if isinstance(given[key], bool) or not isinstance(given[key], int | float):
      raise ValueError(f"{path}: {key} must be a number, but is {given[key]!r}")
    if not 0 < given[key] < _MOST:
      raise ValueError(
        f"{path}: {key} must be above 0 and below 10^9, but is {given[key]}"
      )
  if not isinstance(given["name"], str) or not given["name"].isprintable():
    raise ValueError(f"{path}: name must be a word, but is {given['name']!r}")
  return Gpu(**{**given, "capability": tuple(numbers)})

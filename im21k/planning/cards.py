"""The card list: a name, or a JSON file -> a card's datasheet, for the compiler too.

A JSON file has the fields of `Gpu`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from im21k import documents
from im21k.planning import card_names, datasheets, links


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
    link_gbs: GB/s in one direction that a ring of all-reduces can use of the link to
      the other cards; a file need not have it, and then it is that of PCIe 3.0 x16.
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
  link_gbs: float = links.usable(links.DEFAULT)

  @property
  def memory(self) -> int:
    """Memory of the card in bytes."""
    return int(self.memory_gib * 2**30)

  def flops_per_second(self, dtype: str) -> float:
    """Peak arithmetic for a model's `dtype`, FLOP/s."""
    tera = self.bfloat16_tflops if dtype == "bfloat16" else self.float32_tflops
    return tera * 1e12

  def check_supported(self) -> None:
    """ValueError if JAX cannot run on the card, so that no plan promises it."""
    if self.capability < OLDEST:
      have, need = (".".join(map(str, c)) for c in (self.capability, OLDEST))
      raise ValueError(
        f"{self.name} has compute capability {have}, and CUDA 12, which JAX runs on, "
        f"has no code for cards below {need}: choose a newer card"
      )

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


OLDEST = (5, 0)  # compute capability that the compiler of CUDA 12 makes code for
_MOST = 1e9  # Of any figure of a card.
_OPTIONAL = {"link_gbs"}
# The columns of `datasheets.ROWS` that are fields of a card, behind the title.
_FIGURES = (
  "capability", "multiprocessors", "cores", "clock_ghz", "memory_gib", "bandwidth_gbs",
  "l2_mib", "float32_tflops", "bfloat16_tflops",
)  # fmt: skip
GPUS = {
  name: Gpu(
    name=name,
    **dict(zip(_FIGURES, figures, strict=True)),
    link_gbs=links.usable(link),
  )
  for name, (_, *figures, link, _, _) in datasheets.ROWS.items()
}


def get(name: str) -> Gpu:
  """The card of this name, or in this JSON file.

  Args:
    name: a name of the list, a file, or a name as shops and drivers write it, such as
      "RTX 4090" or "NVIDIA H100 80GB HBM3".

  Raises:
    ValueError: no such card or file, several cards of that name, or a field of the file
      is missing, unknown or wrong.
  """
  if name.lower() in GPUS:
    return GPUS[name.lower()]
  path = Path(name)
  if not path.is_file():
    return GPUS[card_names.find(name)]
  return _from_file(path)


def listing() -> list[dict[str, Any]]:
  """All cards by name, in the order of the list: figures, link and their source."""
  rows = []
  for name, (title, *_, link, _, source) in datasheets.ROWS.items():
    fields = dataclasses.asdict(GPUS[name])
    fields["capability"] = list(fields["capability"])
    rows.append({**fields, "title": title, "link": link, "source": source})
  return rows


def table(rows: list[dict[str, Any]]) -> str:
  """Formats `listing` for reading."""
  lines = [
    f"{'name':<16}{'card':<32}{'GiB':>4}{'GB/s':>7}{'float32':>9}{'bfloat16':>9}  "
    f"{'link':<14}{'GB/s':>5}  figures from"
  ]
  lines += [
    f"{r['name']:<16}{r['title']:<32}{r['memory_gib']:>4g}{r['bandwidth_gbs']:>7g}"
    f"{r['float32_tflops']:>9g}{r['bfloat16_tflops']:>9g}  {r['link']:<14}"
    f"{r['link_gbs']:>5.0f}  {r['source']}"
    for r in rows
  ]
  return "\n".join([*lines, "", "float32 and bfloat16: TFLOP/s of convolutions"])


def _from_file(path: Path) -> Gpu:
  try:
    given = documents.parse(path.read_bytes())
  except ValueError as error:
    raise ValueError(f"{path} is not JSON: {error}") from None
  fields = {field.name for field in dataclasses.fields(Gpu)}
  keys = set(given) if isinstance(given, dict) else set()
  if not fields - _OPTIONAL <= keys <= fields:
    raise ValueError(
      f"{path} must be an object of just {', '.join(sorted(fields))}; missing: "
      f"{', '.join(sorted(fields - _OPTIONAL - keys)) or 'none'}; unknown: "
      f"{', '.join(sorted(keys - fields)) or 'none'}"
    )
  numbers = [*given["capability"]] if isinstance(given["capability"], list) else []
  if len(numbers) != 2 or not all(type(n) is int and 0 <= n < 100 for n in numbers):
    raise ValueError(f"{path}: capability must be [major, minor], as in [8, 6]")
  for key in sorted(keys - {"name", "capability"}):
    if isinstance(given[key], bool) or not isinstance(given[key], int | float):
      raise ValueError(f"{path}: {key} must be a number, but is {given[key]!r}")
    if not 0 < given[key] < _MOST:
      raise ValueError(
        f"{path}: {key} must be above 0 and below 10^9, but is {given[key]}"
      )
    if key in ("multiprocessors", "cores") and given[key] != int(given[key]):
      raise ValueError(f"{path}: {key} must be a whole number, but is {given[key]}")
  if not isinstance(given["name"], str) or not given["name"].isprintable():
    raise ValueError(f"{path}: name must be a word, but is {given['name']!r}")
  whole = {key: int(given[key]) for key in ("multiprocessors", "cores")}
  return Gpu(**{**given, **whole, "capability": tuple(numbers)})

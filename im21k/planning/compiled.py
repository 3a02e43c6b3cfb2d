"""A compiled training step and its card -> what it needs, and how fast it is."""

import dataclasses
import functools
import json
import math
import re
from pathlib import Path
from typing import Any

import jax

from im21k import files, original
from im21k.planning import cards
from im21k.planning.peak import peak
from im21k.planning.program import Program
from im21k.training.config import Config

LINK = 10e9  # bytes of gradients reduced a second: PCIe
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A compiled step and the card that it is compiled for.

  Attributes:
    experiment: the config that the step belongs to.
    card: the card.
    batch: images a GPU and step.
    limit: bytes of the card's memory that may be used.
    sizes: bytes of the step's arguments on one device, by kind.
    text: the scheduled program.
    memory: every field of XLA's memory analysis, in bytes.
  """

  experiment: Config
  card: cards.Gpu
  batch: int
  limit: int
  sizes: dict[str, int]
  text: str
  memory: dict[str, int]

  @functools.cached_property
  def program(self) -> Program:
    """The scheduled program."""
    return Program(self.text)

  @property
  def needed(self) -> int:
    """Bytes that must be free: XLA's peak, or what it allocates, if that is more."""
    m = self.memory
    allocated = (
      m["argument_size_in_bytes"]
      + m["temp_size_in_bytes"]
      + m["output_size_in_bytes"]
      - m["alias_size_in_bytes"]
    )
    return max(m["peak_memory_in_bytes"], allocated)

  @property
  def fits(self) -> bool:
    """Whether the card has that much memory, without the reserve."""
    return self.needed <= self.limit

  def dump(self, folder: Path) -> None:
    """Writes program.txt and memory.json."""
    files.write_text(folder / "program.txt", self.text)
    files.write_text(folder / "memory.json", json.dumps(self.memory, indent=1) + "\n")

  def report(self) -> dict[str, Any]:
    """All figures of the step; sizes in MiB (2^20 bytes), times in seconds."""
    config = self.experiment
    return {
      "gpu": self.card.name,
      "devices": config.devices,
      "batch": self.batch,
      "dtype": self._dtype,
      "remat": config.resolved().model.get("remat", "none"),
      "split_head": config.split_head,
      "jax": jax.__version__,
      **self._memory(),
      **self._arithmetic(),
      **self._communication(),
      **self._speed(),
    }

  @property
  def _dtype(self) -> str:
    return str(self.experiment.model.get("dtype", "float32"))

  def _memory(self) -> dict[str, Any]:
    highest = peak(self.program)
    parts = {
      **self.sizes,
      "activations kept": highest.kept,
      "gradients held": highest.gradients,
      "workspace of the largest step": highest.workspace,
    }
    parts["lost between arrays"] = self.needed - sum(parts.values())
    return {
      "peak_mib": _mib(self.memory["peak_memory_in_bytes"]),
      "needed_mib": _mib(self.needed),
      "limit_mib": _mib(self.limit),
      "reserve_mib": _mib(self.card.memory - self.limit),
      "fits": self.fits,
      "made_of_mib": {name: _mib(size) for name, size in parts.items()},
      "largest_step": _place(highest.at),
    }

  def _arithmetic(self) -> dict[str, Any]:
    total, again = self.program.total_flops(), self.program.recomputed_flops()
    return {
      "gflops_per_image": round(total / self.batch / 1e9, 2),
      "recomputed_share": round(again / (total - again), 4),
    }

  def _communication(self) -> dict[str, Any]:
    """Of the gradients; BatchNorm's statistics and the metrics are 0.1 MB beside."""
    reduces = self.program.all_reduces()
    gradients = [one for one in reduces if "gradients" in one.origin]
    sent = sum(one.bytes for one in gradients)
    hidden = sum(one.bytes for one in gradients if one.convolutions)
    flops = self.card.flops_per_second(self._dtype)
    computing, exposed = self.program.seconds(flops, math.inf, LINK)
    return {
      "gradient_mb": round(sent / 1e6, 1),
      "overlapped_share": round(hidden / sent, 4) if sent else None,
      "exposed_share": round(exposed / (computing + exposed), 4) if sent else None,
      "has_collectives": self.program.has_collectives(),
      "all_reduces": [dataclasses.asdict(one) for one in gradients],
    }

  def _speed(self) -> dict[str, Any]:
    flops = self.card.flops_per_second(self._dtype)
    bandwidth = self.card.bandwidth_gbs * 1e9
    step = sum(self.program.seconds(flops, bandwidth, LINK))
    images = self.experiment.devices * self.batch / step
    return {
      "step_s": round(step, 4),
      "images_per_s": round(images, 1),
      "days": round(original.PASSES * original.IMAGES / images / 86400, 2),
    }


def _mib(size: int) -> float:
  return round(size / MIB, 1)


def _place(origin: str) -> str:
  """The module in a path of JAX operations, such as `block_3a`."""
  parts = [part.split(".")[0] for part in origin.split("/")]
  named = [part for part in parts if re.fullmatch(r"conv\d\w*|block_\w+|head", part)]
  return named[-1] if named else "the optimizer, or the loss"

"""A compiled training step and its card -> what it needs, and how fast it is."""

import dataclasses
import functools
import json
import math
import re
from pathlib import Path
from typing import Any

import jax

from im21k import files
from im21k.planning import cards, measured, traffic, workload
from im21k.planning import network as networks
from im21k.planning.peak import peak
from im21k.planning.program import Program
from im21k.training.config import Config

MIB = 2**20
LOST, SHARED = "lost between arrays", "less: counted twice above"


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
    network: the hosts that it is compiled for, and what connects them.
  """

  experiment: Config
  card: cards.Gpu
  batch: int
  limit: int
  sizes: dict[str, int]
  text: str
  memory: dict[str, int]
  network: networks.Network = networks.ONE

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
    """All figures of the step; sizes in MiB (2^20 bytes), times in seconds.

    `traffic_mib` is that of an image, by kind of work.
    """
    return {
      **self._program(),
      **self._memory(),
      **self._arithmetic(),
      **self._traffic(),
      **self._communication(),
      **self._speed(),
    }

  def brief(self) -> dict[str, Any]:
    """Those figures that cards are compared by."""
    return {**self._program(), **self._fit(), **self._speed()}

  def step_seconds(self, share: float) -> float:
    """Time of a step if the card reaches this share of its peaks."""
    return self._seconds(share)[0]

  def waiting_seconds(self, share: float) -> float:
    """How much of it goes into waiting for collectives."""
    return self._seconds(share)[1]

  def on(self, card: cards.Gpu, limit: int) -> "Compiled":
    """The same program on another card, with `limit` bytes of memory."""
    return self._changed(card=card, limit=limit)

  def over(self, gbit_s: float) -> "Compiled":
    """The same program over a network of another speed."""
    return self._changed(network=dataclasses.replace(self.network, gbit_s=gbit_s))

  def network_bytes(self) -> float:
    """Bytes that leave a host in a step."""
    exchanges = self.program.exchanges(self.experiment.devices, self.network.hosts)
    return sum(map(self._wires.sent, exchanges))

  def _changed(self, **fields: Any) -> "Compiled":
    other = dataclasses.replace(self, **fields)
    vars(other)["program"] = self.program  # Reading the text takes seconds.
    return other

  def _program(self) -> dict[str, Any]:
    config, network = self.experiment, self.network
    speed = {"network_gbit_s": network.gbit_s} if network.hosts > 1 else {}
    return {
      "gpu": self.card.name,
      "hosts": network.hosts,
      **speed,
      "devices": config.devices,
      "batch": self.batch,
      "accumulate": config.accumulate,
      "dtype": self._dtype,
      "remat": config.resolved().model.get("remat", "none"),
      "split_head": config.split_head,
      "jax": jax.__version__,
    }

  @property
  def _dtype(self) -> str:
    return str(self.experiment.model.get("dtype", "float32"))

  @property
  def _wires(self) -> networks.Wires:
    return networks.Wires(self.experiment.devices, self.card.link_gbs, self.network)

  @property
  def _together(self) -> int:
    """Images of a step, on all devices."""
    return self.batch * self.experiment.devices * self.network.hosts

  def _fit(self) -> dict[str, Any]:
    return {
      "needed_mib": _mib(self.needed),
      "limit_mib": _mib(self.limit),
      "reserve_mib": _mib(self.card.memory - self.limit),
      "fits": self.fits,
    }

  def _memory(self) -> dict[str, Any]:
    highest = peak(self.program)
    parts = {
      **self.sizes,
      "activations kept": highest.kept,
      "gradients held": highest.gradients,
      "workspace of the largest step": highest.workspace,
    }
    rest = self.needed - sum(parts.values())
    # Arrays leave gaps; or XLA ends their life earlier, and `peak` counts them all.
    parts[LOST if rest >= 0 else SHARED] = rest
    return {
      "peak_mib": _mib(self.memory["peak_memory_in_bytes"]),
      **self._fit(),
      "made_of_mib": {name: _mib(size) for name, size in parts.items()},
      "largest_step": _place(highest.at),
    }

  def _arithmetic(self) -> dict[str, Any]:
    total, again = self.program.total_flops(), self.program.recomputed_flops()
    return {
      "gflops_per_image": round(total / self.batch / 1e9, 2),
      "recomputed_share": round(again / (total - again), 4),
    }

  def _traffic(self) -> dict[str, Any]:
    each = traffic.by_kind(self.program)
    image = self.batch * MIB
    return {"traffic_mib": {name: round(n / image, 2) for name, n in each.items()}}

  def _communication(self) -> dict[str, Any]:
    """Of the gradients; BatchNorm's statistics and the metrics are 0.1 MB beside."""
    reduces = self.program.all_reduces()
    gradients = [one for one in reduces if "gradients" in one.origin]
    sent = sum(one.bytes for one in gradients)
    hidden = sum(one.bytes for one in gradients if one.convolutions)
    flops = self.card.flops_per_second(self._dtype)
    computing, exposed = self.program.seconds(flops, math.inf, self._wires)
    return {
      "link_gbs": self.card.link_gbs,
      "asynchronous": len(gradients) - self.program.blocking("gradients"),
      "gradient_mb": round(sent / 1e6, 1),
      "overlapped_share": round(hidden / sent, 4) if sent else None,
      "exposed_share": round(exposed / (computing + exposed), 4) if sent else None,
      "has_collectives": self.program.has_collectives(),
      "all_reduces": [dataclasses.asdict(one) for one in gradients],
    }

  def _speed(self) -> dict[str, Any]:
    """Ranges are [least, most]; those of time belong to the other end of the speed.

    `waiting_share` is that of the fastest step, which waits longest for the link.
    """
    slow, fast = measured.share()
    (low, waiting), (high, _) = self._seconds(fast), self._seconds(slow)
    together = self._together
    work = workload.find(self.experiment)
    examples = work.examples(self.experiment, self.batch, self.network.hosts)
    cores = measured.cores_to_feed(together / low)
    return {
      "images_per_s": [round(together / high, 1), round(together / low, 1)],
      "images_per_s_peak": round(together / self._seconds(1)[0], 1),
      "waiting_share": round(waiting / low, 4),
      "step_s": [round(low, 4), round(high, 4)],
      "days": [round(examples * s / together / 86400, 3) for s in (low, high)],
      "examples": examples,
      "photos": work.photos,
      "photos_from": work.source,
      "total": workload.total(self.experiment),
      "cores_to_feed": round(cores, 2),
    }

  def _seconds(self, share: float) -> tuple[float, float]:
    """Time of a step if the card reaches this share of its peaks, and waiting in it."""
    flops = self.card.flops_per_second(self._dtype) * share
    bandwidth = self.card.bandwidth_gbs * 1e9 * share
    computing, waiting = self.program.seconds(flops, bandwidth, self._wires)
    return computing + waiting, waiting


def _mib(size: int) -> float:
  return round(size / MIB, 1) + 0.0  # which makes 0 of -0


def _place(origin: str) -> str:
  """The module in a path of JAX operations, such as `block_3a`."""
  named = re.findall(r"\b(conv\d\w*|block_\w+|head)\b", origin)
  return named[-1] if named else "the optimizer, or the loss"

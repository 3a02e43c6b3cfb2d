"""Which training steps `gpu.py` measures, and how a child or a run is told of them.

A program is a batch, a type and what backprop recomputes. The same config file makes it
for a child that measures it and for `experiments/run.py`, so that both take the same
compiled program from the cache.
"""

import dataclasses
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Program:
  """A training step on one device.

  Attributes:
    dtype: of the arithmetic.
    batch: images a step.
    remat: value of `model.remat`.
  """

  dtype: str
  batch: int
  remat: str

  def __str__(self) -> str:
    return f"{self.dtype} {self.batch} {self.remat}"

  @property
  def settings(self) -> dict[str, Any]:
    """Config keys by dotted name."""
    return {
      "batch_size": self.batch,
      "model.dtype": self.dtype,
      "model.remat": self.remat,
    }

  @property
  def columns(self) -> dict[str, Any]:
    """What a row says of it."""
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Limit:
  """A process whose memory is limited, and a program that needs more.

  Attributes:
    mib: memory of the process's pool.
    programs: candidates, the largest batch first; the first whose compiled program
      needs no more than that is the planned one.
    too_large: must fail.
  """

  mib: int
  programs: tuple[Program, ...]
  too_large: Program


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Everything that differs between a card and a test on CPU.

  Attributes:
    compared: measured against PyTorch, the first with the claims about bfloat16.
    planned: part (a), in the order of importance.
    limits: part (b).
    fed: part (d) and (f).
    restarted: part (e).
    photos: number of photos that are packed.
    fed_steps, restarted_steps: length of the runs.
    save_every: steps between the checkpoints of a run that is killed.
    round_s: seconds of a timed round.
    rounds: number of them.
    model: config keys of the net.
  """

  compared: tuple[Program, ...]
  planned: tuple[Program, ...]
  limits: tuple[Limit, ...]
  fed: Program
  restarted: Program
  photos: int
  fed_steps: int
  restarted_steps: int
  save_every: int
  round_s: float
  rounds: int
  model: dict[str, Any]


_F32, _BF16 = "float32", "bfloat16"
_HEAD = (Program(_BF16, 256, "none"), Program(_F32, 128, "none"))
_SHIPPED = Program(_F32, 64, "block")
# What fits in 3.5 GiB, a card of 4 less what `im21k plan` reserves, and in 1 GiB.
_FOUR = (Program(_F32, 240, "block"), Program(_F32, 176, "block"))
_ONE = (_SHIPPED, Program(_F32, 40, "block"))

# Each of these compiles for a minute; parts share them.
CARD = Sizes(
  compared=_HEAD,
  planned=(
    *_HEAD,
    _SHIPPED,
    Program(_F32, 64, "none"),
    *_FOUR,
    _ONE[1],
    Program(_BF16, 256, "block"),
    Program(_BF16, 128, "norm"),
    Program(_BF16, 512, "none"),
  ),
  limits=(Limit(3584, _FOUR, _HEAD[1]), Limit(1024, _ONE, _FOUR[1])),
  fed=_HEAD[0],
  restarted=_SHIPPED,
  photos=4000,
  fed_steps=200,
  restarted_steps=120,
  save_every=30,
  round_s=0.7,
  rounds=7,
  model={},
)
_TOY = (Program(_F32, 8, "none"), Program(_F32, 8, "block"))
TOY = Sizes(
  compared=_TOY[:1],
  planned=_TOY,
  limits=(Limit(64, _TOY[1:], _TOY[0]),),
  fed=_TOY[0],
  restarted=_TOY[0],
  photos=40,
  fed_steps=80,
  restarted_steps=120,
  save_every=10,
  round_s=0.05,
  rounds=3,
  model={"model.width": 0.125, "image_size": 32},
)

_CONFIG = '''"""Written by benchmarks/gpu.py."""


def get_config():
  return {
    "data": "photos",
    "model": {"name": "inception_bn_21k"},
    "batch_size": 64,
    "total": {"steps": 100},
    "schedule": {
      "name": "stepwise",
      "rates": (0.01, 0.01),
      "until": {"steps": (1_000_000,)},
    },
    "augment": {"crop": "straight", "mirror": True, "order": "blockwise"},
    "devices": 1,
  }
'''


def write_config(folder: Path) -> Path:
  """Writes the config file that all programs and runs begin with."""
  path = folder / "gpu_config.py"
  path.write_text(_CONFIG, encoding="utf-8")
  return path


def run_options(settings: dict[str, Any]) -> list[str]:
  """Options of `experiments/run.py` for settings by dotted name."""
  return [f"--config.{name}={value}" for name, value in settings.items()]


def needed_programs(sizes: Sizes, parts: str) -> tuple[list[Program], list[Program]]:
  """Programs to compile for these parts: those with the card to themselves, the rest.

  How fast a program is depends on the algorithms that XLA times while it compiles, so
  what is compared with PyTorch is compiled first; no program is named twice.
  """
  first = list(sizes.compared) if set(parts) & set("ac") else []
  rest: list[Program] = []
  for letter, programs in (
    ("df", [sizes.fed]),
    ("e", [sizes.restarted]),
    ("b", [program for one in sizes.limits for program in one.programs]),
    ("a", list(sizes.planned)),
    ("b", [one.too_large for one in sizes.limits]),
  ):
    if set(letter) & set(parts):
      rest += [one for one in programs if one not in first and one not in rest]
  return first, rest

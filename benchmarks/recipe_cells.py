"""The recipes that `recipe.py` compares: a base, and what each changes in it.

The base is all that a config could express before the parts below were there: SGD on a
cosine with kernels alone decaying, an initial scale and a BatchNorm for few passes.
"""

import copy
import dataclasses
from typing import Any

PASSES = 9  # Of the original.
BATCH = 64

Settings = dict[str, Any]

BASE: Settings = {
  "classes": "imagenet21k",
  "model": {
    "name": "inception_bn_21k", "bn_epsilon": 1e-5, "bn_momentum": 0.9,
    "init_scale": 0.1,
  },
  "batch_size": BATCH,
  "total": {"epochs": PASSES},
  "schedule": {"name": "cosine", "peak": 0.1, "warmup": {"epochs": 0.3}},
  "optimizer": {"momentum": 0.9, "weight_decay": 5e-5, "decay": "kernels"},
  "augment": {"crop": "straight", "mirror": True, "order": "blockwise"},
  "devices": 1,
  "log_every": {"epochs": 1},
  "eval_every": {"epochs": PASSES},
  "save_every": {"epochs": 1},
  "keep_latest": 1,
}  # fmt: skip

# The recipe of 2015: `experiments/configs/inception_bn_21k.py`.
ORIGINAL: Settings = {
  "model.bn_epsilon": 1e-10,
  "model.bn_momentum": 0.1,
  "model.init_scale": 0.01,
  "schedule": {
    "name": "stepwise", "rates": (0.05, 0.01, 0.005, 0.001),
    "until": {"epochs": (4, 6, 8)},
  },
  "optimizer": {"momentum": 0.9, "weight_decay": 1e-5, "decay": "all"},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stage:
  """Runs that are compared with each other.

  Attributes:
    image_size, width: of the net.
    cells: what each recipe changes in the base, by name; the first is the base. Beside
      keys of a config, `photos` is the number of photos a class, without it all.
  """

  image_size: int
  width: float
  cells: dict[str, Settings]

  def reference(self, name: str) -> str:
    """The recipe with which one is compared: the first, or all parts together."""
    return "all" if name in AROUND and name != "all" else next(iter(self.cells))


def changed(settings: Settings) -> Settings:
  """The base with these in place: nested keys of a config."""
  document = copy.deepcopy(BASE)
  for name, value in copy.deepcopy(settings).items():
    section, _, key = name.partition(".")
    if key:
      document.setdefault(section, {})[key] = value
    else:
      document[section] = value
  return document


# Orthogonal updates of kernels at ten times the rate of AdamW's for the rest.
MUON: Settings = {
  "name": "muon", "rms": None, "decay": "kernels", "groups": {"kernels_rate": 10.0},
}  # fmt: skip

PHASES: Settings = {  # 6.4 passes, and 2 at 1.27 times the cost
  "image_size": 40,
  "total": {"epochs": 8.4},
  "phases": {"image_sizes": (32,), "until": {"epochs": (6.4,)}},
}

FACTORS: dict[str, Settings] = {
  "base": {},
  "original": ORIGINAL,
  "peak 0.05": {"schedule.peak": 0.05},
  "linear": {"schedule.name": "linear"},
  "rex": {"schedule.name": "rex"},
  "Nesterov": {"optimizer.nesterov": True},
  "smoothing 0.1": {"loss": {"name": "cross_entropy", "smoothing": 0.1}},
  "sigmoid": {"loss": {"name": "sigmoid"}, "model.head_bias": -10.0},
  "clip_norm 1": {"optimizer.clip_norm": 1.0},
  "no decay": {"optimizer.weight_decay": 0.0},
  "decay × 10": {"optimizer.weight_decay": 5e-4},
  "inception crop": {"augment.crop": "inception"},
  "whole photo": {"short_side": 32},
  "no mirror": {"augment.mirror": False},
  "batch 32": {"batch_size": 32, "schedule.peak": 0.05},
  "batch 128": {"batch_size": 128},
  "mixup 0.2": {"mix": {"mixup": 0.2}},
  "semantic softmax": {"loss": {"name": "semantic_softmax"}},
  "crop area 0.25 to 1": {"augment.crop": "inception", "augment.area": (0.25, 1.0)},
  "mirror alternating": {"augment.mirror": "alternating"},
  "evaluated at 40": {"eval_size": 40, "eval_short_side": 46},
  "AdamW": {
    "optimizer": {"name": "adamw", "decay": "kernels"},
    "schedule.peak": 0.005,
  },
  "LAMB": {"optimizer": {"name": "lamb", "decay": "kernels"}, "schedule.peak": 0.01},
  "Muon": {"optimizer": MUON, "schedule.peak": 0.005},
  "EMA": {"average": {"name": "ema", "horizon": {"epochs": 0.25}}},
  "average of the last pass": {
    "average": {"name": "tail", "span": {"epochs": 1}},
    "recalibrate": 10_000,
  },
  "recalibrated": {"recalibrate": 10_000},
  "32, then 40 pixels": PHASES,
}

# Biases outside the head stay as they are: the BatchNorm behind each removes it.
TOGETHER: Settings = {
  "batch_size": 128,
  "optimizer": {**MUON, "groups": {"kernels_rate": 10.0, "biases_rate": 0.0}},
  "schedule": {"name": "linear", "peak": 0.005, "warmup": {"epochs": 0.3}},
  "augment.mirror": "alternating",
}

# All together at 32 pixels, and with one part less or more.
AROUND: dict[str, Settings] = {
  "all": {},
  "all, SGD": {"optimizer": {**BASE["optimizer"]}, "schedule.peak": 0.1},
  "all, batch 64": {"batch_size": 64},
  "all, cosine": {"schedule.name": "cosine"},
  "all, mirror at random": {"augment.mirror": True},
  "all, 32 pixels": {"image_size": 32, "total": {"epochs": 9}, "phases": None},
  "all, biases learn": {"optimizer": MUON},
  "all and EMA": {"average": {"name": "ema", "horizon": {"epochs": 0.25}}},
  "all and smoothing 0.1": {"loss": {"name": "cross_entropy", "smoothing": 0.1}},
}

# What the screening left of all together: all but the alternating mirror.
KEPT: Settings = {**TOGETHER, "augment.mirror": True}

# The same at 64 pixels. The photos have no more, so crops are cut without scaling. In
# all less processor time than the base, although three programs are compiled.
ALL: Settings = {
  **KEPT,
  "phases": {"image_sizes": (44, 52), "until": {"epochs": (5, 8.5)}},
  "image_size": 60,
  "short_side": 64,
  "total": {"epochs": 10.5},
  "eval_every": {"epochs": 10.5},
}

SCREEN = Stage(
  32,
  0.125,
  FACTORS | {name: {**TOGETHER, **PHASES, **one} for name, one in AROUND.items()},
)
CONFIRM = Stage(64, 0.25, {"base": {}, "original": ORIGINAL, "all": ALL})


def scaled(width: float, photos: int, epochs: float) -> dict[str, Settings]:
  """A net of a width, on so many photos a class, by its name."""
  name = f"width {width}, {photos} photos, {epochs:g} passes"
  total = {"total": {"epochs": epochs}, "eval_every": {"epochs": epochs}}
  return {name: {**KEPT, "model.width": width, "photos": photos, **total}}


# Width against passes over all photos; and passes against photos: 9 passes, and the
# steps of 9 passes over 100 photos.
WIDTHS, PASSES_OF = (0.0625, 0.125, 0.25), (1, 3, 9, 27)
PHOTOS = (25, 50, 100, 200, 300)
SCALE = Stage(
  32,
  0.125,
  {
    name: one
    for width, photos, epochs in (
      *((width, 100, epochs) for epochs in PASSES_OF for width in WIDTHS),
      *((0.125, photos, PASSES) for photos in PHOTOS),
      *((0.125, photos, PASSES * 100 / photos) for photos in PHOTOS),
    )
    for name, one in scaled(width, photos, epochs).items()
  },
)
STAGES = {"screen": SCREEN, "confirm": CONFIRM, "scale": SCALE}

"""Every key of a run's config, declared once; `config.Config` is made of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from im21k.training import averages, losses, optimizers, schedules
from im21k.training.augment import Mix
from im21k.training.durations import Duration
from im21k.training.keys import REQUIRED, key, section
from im21k.training.model_keys import ModelKeys
from im21k.training.phases import Phases
from im21k.training.sections import COUNT, Augment, Reference
from im21k.training.start import Init
from im21k.training.values import Bounds

Rate = float | tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunKeys:
  """The keys of a file in `experiments/configs`.

  `key` states type, default, text, unit, and whether a resumed run may change it.
  """

  data: str = key(REQUIRED, "Folder of packed photos, written by `im21k pack`.")
  eval_data: str | Mapping[str, str] | None = key(
    None, "Further packed photos to evaluate on: a folder, which is called val, or "
    "several by name. Best goes by val where data holds nothing out.",
  )  # fmt: skip
  classes: str = key(
    "imagenet21k",
    "Class list that the labels index: a known name such as imagenet21k, a file of ids "
    "in the order of the labels, or a folder of packed photos.",
  )
  model: dict[str, Any] = section(REQUIRED, opened=ModelKeys())
  init: Init | None = section(None)
  total: Duration = key(REQUIRED, "Duration of the training.", fixed=False)
  batch_size: int = key(
    REQUIRED, "Examples a step, over all devices.", "examples", bounds=Bounds(1, 2**20)
  )
  accumulate: int = key(
    1, "Parts in which each device works through its examples of a step, one after "
    "another, to save memory.", fixed=False, bounds=Bounds(1, 2**10),
  )  # fmt: skip
  schedule: schedules.Stepwise | schedules.Cosine = section(
    REQUIRED, "Form of the learning rate over time.", variants=schedules.SCHEDULES
  )
  optimizer: (
    optimizers.Sgd | optimizers.AdamW | optimizers.Lamb | optimizers.Muon
  ) = section(
    optimizers.Sgd(), "Rule that makes gradients into updates.",
    variants=optimizers.OPTIMIZERS,
  )  # fmt: skip
  augment: Augment = section(Augment())
  mix: Mix = section(Mix())
  loss: losses.Keys = section(
    losses.CrossEntropy(), "Loss that is minimised.", variants=losses.LOSSES
  )
  average: averages.Off | averages.Ema | averages.Tail = section(
    averages.Off(), "Average of weights that is scored and exported in their place.",
    variants=averages.AVERAGES,
  )  # fmt: skip
  recalibrate: int | None = key(
    None, "Give what the run exports at its end BatchNorm statistics of so many "
    "training photos; none: it keeps the moving ones.", "photos", fixed=False,
    bounds=COUNT,
  )  # fmt: skip
  image_size: int = key(
    224, "Side of the model's square input.", "pixels", bounds=Bounds(1, 2**13)
  )
  short_side: int | None = key(
    None, "Downscale photos to this short side before they are cropped; none: "
    "image_size · 256 / 224.", "pixels", bounds=Bounds(1, 2**15),
  )  # fmt: skip
  phases: Phases | None = section(None)
  eval_size: int | None = key(
    None, "Side of the square in evaluations, and of what the weights take afterwards; "
    "none: image_size.", "pixels", bounds=Bounds(1, 2**13),
  )  # fmt: skip
  eval_short_side: int | None = key(
    None, "Downscale photos to this short side before that square is cut; none: in "
    "proportion to short_side.", "pixels", bounds=Bounds(1, 2**15),
  )  # fmt: skip
  mean: Rate = key(
    117.0, "Subtract this from pixel values, one number or one for each of R, G, B.",
    bounds=Bounds(-1e6, 1e6),
  )  # fmt: skip
  std: Rate = key(
    1.0, "Then divide by this, one number or one for each of R, G, B.",
    bounds=Bounds(1e-6, 1e6),
  )  # fmt: skip
  devices: int = key(
    4, "Number of devices that share each batch.", fixed=False, bounds=COUNT
  )
  overlap: bool = key(
    True, "Average gradients part by part during backprop, not all at its end.",
    fixed=False,
  )  # fmt: skip
  wire_dtype: Literal["float32", "bfloat16"] = key(
    "float32", "Type in which gradients are sent between devices."
  )
  split_head: bool = key(
    False, "Divide the classes of the head among the devices, to save memory.",
    fixed=False,
  )  # fmt: skip
  sync_bn: bool = key(
    False, "Take BatchNorm statistics over all devices together, not on each alone."
  )
  deterministic: bool = key(
    False, "On a GPU, use no operation whose result may differ from run to run."
  )
  seed: int = key(
    0, "Seed of parameters, order and augmentation.", bounds=Bounds(0, 2**32 - 1)
  )
  threads: int | None = key(
    None, "Threads that make batches, in each worker; none: by the number of cores.",
    fixed=False, bounds=Bounds(1, 4096),
  )  # fmt: skip
  workers: int | None = key(
    None, "Processes that make batches; none: by the number of cores.",
    fixed=False, bounds=Bounds(0, 4096),
  )  # fmt: skip
  log_every: Duration = key(
    Duration(50, "steps"), "Time between rows of metrics.", fixed=False
  )
  eval_every: Duration = key(
    Duration(1, "epochs"), "Time between evaluations on held-out photos, if there are "
    "any.", fixed=False,
  )  # fmt: skip
  save_every: Duration = key(
    Duration(0.25, "epochs"), "Time between checkpoints.", fixed=False
  )
  keep_latest: int = key(
    2, "Number of newest checkpoints to keep.", fixed=False, bounds=COUNT
  )
  keep_best: int = key(
    1, "Number of checkpoints to keep by the best top-1 on held-out photos.",
    fixed=False, bounds=Bounds(0, 10**9),
  )  # fmt: skip
  trackers: tuple[Literal["tensorboard", "wandb"], ...] = key(
    (), "Write each row of metrics also for tensorboard (event files) or wandb "
    "(offline runs).", fixed=False,
  )  # fmt: skip
  reference: Reference | None = section(None)

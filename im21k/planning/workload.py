"""A config -> how many examples it trains on, and by which number of photos."""

import dataclasses
from pathlib import Path

from im21k import original
from im21k.dataset.manifest import Manifest
from im21k.training.config import Config

# Photos to assume where the config's own are not at hand, by its class list.
_KNOWN = {
  "imagenet21k": (original.IMAGES, "ImageNet's release of fall 2011"),
  "ilsvrc2012": (1_281_167, "the train photos of ILSVRC2012"),
}


@dataclasses.dataclass(frozen=True)
class Workload:
  """What a run works through.

  Attributes:
    photos: photos of an epoch; None if the config counts no epochs.
    source: where that number is from; empty if the config counts no epochs.
  """

  photos: int | None
  source: str

  def examples(self, experiment: Config, batch: int, hosts: int = 1) -> int:
    """Examples of the whole run, with `batch` of them on each device a step."""
    together = batch * experiment.devices * hosts
    return experiment.total.steps(together, self.photos or 1) * together


def find(experiment: Config) -> Workload:
  """The workload by the manifest of the config's packed photos, if they are there.

  Raises:
    ValueError: there is a manifest, but it is damaged or has no photos to train on.
    OSError: it cannot be read.
  """
  units = {experiment.total.unit}
  if experiment.phases:
    units.add(experiment.phases.until.unit)
  if "epochs" not in units:
    return Workload(None, "")
  folder = Path(experiment.data)
  try:
    manifest = Manifest.load(folder)
  except FileNotFoundError:
    photos, what = _KNOWN.get(experiment.classes, _KNOWN["imagenet21k"])
    return Workload(photos, f"{what}; {folder} holds no packed photos")
  photos = manifest.count("train") if "train" in manifest.splits else 0
  if not photos:
    raise ValueError(f"{folder} has no photos in the split train: pack again")
  return Workload(photos, str(folder))


def total(experiment: Config) -> str:
  """The duration of the run as the config has it: `9 epochs`."""
  amount, unit = experiment.total.amount, experiment.total.unit
  return f"{amount:,.12g} {unit.removesuffix('s') if amount == 1 else unit}"

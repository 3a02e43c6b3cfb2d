"""The options of the training loader: each said once, with type, default and text."""

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Literal

from im21k import machine, words
from im21k.loading.flips import ALTERNATING
from im21k.photos import crops

LANES = 24  # which 1, 2, 3, 4, 6, 8 and 12 hosts can share


@dataclasses.dataclass(frozen=True)
class LoaderOptions:
  """How training batches are made; a ValueError names an option that is out of range.

  Attributes:
    batch_size: examples of a step, over all devices of all hosts.
    devices: number of devices of this host, the leading axis of a batch.
    image_size: side of the crop in pixels.
    short_side: short side in pixels of the photo that a straight crop is cut from; by
      default image_size · 256 / 224.
    crop: `straight` as in the original, or `inception`: random area and aspect ratio.
    area: least and largest share of the photo's area that an inception crop takes.
    mirror: whether to mirror every photo with probability 1/2; `alternating`: half of
      them in the first pass, and in each later pass those that the one before did not.
    order: `blockwise`, which reads shards in sequence, or `global`, which seeks.
    lanes: parts of the blockwise order of a large data set that have blocks of their
      own: position p is of lane p % lanes. Their number decides the order; hosts that
      divide it read no photo twice. 1: the order and the layout of before there were
      lanes, for one host alone.
    seed: seed of order and augmentation.
    max_bad_share: share of the photos that may be unusable before the stream stops;
      each of them is replaced by the record after it.
    threads: threads that make batches in each worker; by default one for each core, at
      most 8.
    workers: worker processes; 0 makes batches in threads of this process. By default 0
      on up to 8 cores, else one for 8 cores.
    host, hosts: number of this host, and of the hosts that share each batch. Host h
      has positions p of the stream with p % hosts = h.
  """

  batch_size: int
  devices: int = 1
  image_size: int = 224
  short_side: int | None = None
  crop: Literal["straight", "inception"] = "straight"
  area: tuple[float, float] = crops.USUAL_AREA
  mirror: bool | Literal["alternating"] = True
  order: Literal["blockwise", "global"] = "blockwise"
  lanes: int = LANES
  seed: int = 0
  max_bad_share: float = 0.001
  threads: int | None = None
  workers: int | None = None
  host: int = 0
  hosts: int = 1

  def __post_init__(self) -> None:
    kinds = typing.get_type_hints(type(self))
    for name in ("crop", "order"):
      value, known = getattr(self, name), typing.get_args(kinds[name])
      if value not in known:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(known)}")
    if not isinstance(self.mirror, bool) and self.mirror != ALTERNATING:
      raise ValueError(
        f"mirror is {self.mirror!r}, but must be True, False or {ALTERNATING!r}"
      )
    check_area(self.area, self.crop)
    if not 0 <= self.host < self.hosts:
      raise ValueError(f"host is {self.host}, but must be one of 0 to {self.hosts - 1}")
    for name, least in (("devices", 1), ("lanes", 1)):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}, but must be at least {least}"
        )
    if self.lanes == 1:
      check_lanes(self.lanes, self.hosts)
    check_batch_size(self.batch_size, self.devices, self.hosts)
    for name, least in (("threads", 1), ("workers", 0)):
      count = getattr(self, name)
      if count is not None and count < least:
        raise ValueError(f"{name} is {count}, but must be at least {least}")

  @property
  def host_batch_size(self) -> int:
    """Examples of a step on this host."""
    return self.batch_size // self.hosts

  @functools.cached_property
  def places(self) -> list[tuple[int, int]]:
    """Device, and place there, of each of this host's examples of a step."""
    count, devices = self.host_batch_size, self.devices
    if self.lanes == 1:
      return [divmod(example, count // devices) for example in range(count)]
    return [(example % devices, example // devices) for example in range(count)]

  @property
  def thread_count(self) -> int:
    """Threads that make batches in each worker."""
    return self.threads or min(8, machine.cores())

  @property
  def worker_count(self) -> int:
    """Worker processes; 0 for threads of this process."""
    if self.workers is not None:
      return self.workers
    cores = machine.cores()
    return 0 if cores <= 8 else cores // 8

  def make_crop(self) -> crops.StraightCrop | crops.RandomResizedCrop:
    """The crop that the options name."""
    if self.crop == "inception":
      return crops.RandomResizedCrop(self.image_size, (self.area[0], self.area[1]))
    short_side = self.short_side or crops.usual_short_side(self.image_size)
    return crops.StraightCrop(self.image_size, short_side)


def check_area(area: Sequence[float], crop: str) -> None:
  """Raises ValueError unless these are shares of a photo, and the crop takes them."""
  crops.check_area(area)
  if crop != "inception" and tuple(area) != crops.USUAL_AREA:
    raise ValueError(
      f"area {area[0]:g}, {area[1]:g} has no effect with crop {crop}: set crop to "
      "inception, or leave area out"
    )


def check_batch_size(batch_size: int, devices: int, hosts: int = 1) -> None:
  """Raises ValueError, with a batch size that works, unless all devices can share it.

  Args:
    batch_size: examples a step, over all devices of all hosts.
    devices: of each host.
    hosts: number of hosts.
  """
  every = devices * hosts
  if batch_size < 1 or batch_size % every:
    them = f"{devices} devices"
    if hosts > 1:
      them = f"{hosts} hosts with {words.counted(devices, 'device')} each"
    raise ValueError(
      f"batch_size {batch_size} is not divisible by the {them}: use "
      f"{max(1, batch_size // every) * every} for example"
    )


def check_lanes(lanes: int, hosts: int) -> None:
  """Raises ValueError, with numbers that work, unless so many hosts can share lanes."""
  if lanes % hosts == 0:
    return
  numbers = [str(n) for n in range(1, lanes + 1) if lanes % n == 0]
  some = " or ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))
  raise ValueError(
    f"lanes is {lanes}, which {hosts} hosts cannot divide among them: use {some} "
    f"host{'s' * (lanes > 1)}; or, in a new run, set lanes to a multiple of {hosts}, "
    f"{hosts * max(1, round(LANES / hosts))} for example"
  )

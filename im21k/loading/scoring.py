"""Any source of photos -> batches in which every photo comes exactly once.

In: a `photos.Source` and a class list. Out: batches laid out for the devices, and for
each photo in them an `Item`: its label, or why it has none or no pixels.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from im21k import machine
from im21k.loading.config import check_batch_size
from im21k.photos import Photo, Source, crops, images, names
from im21k.photos.photo import Loss
from im21k.synsets import ClassList

VALIDATION = names.VALIDATION
_NO_CLASS = "nothing says its class"


@dataclasses.dataclass(frozen=True)
class Item:
  """A photo in a batch.

  Attributes:
    key: leads back to the photo.
    synset: its class; "" where nothing says it.
    label: of its class in the class list; None where the list lacks it.
    error: why its image is black; None where it is not.
    loss: bytes of an archive that this stands for, as `photos.Photo.loss`.
  """

  key: str
  synset: str
  label: int | None
  error: str | None
  loss: Loss | None = None


class ScoreLoader:
  """Every photo exactly once, in order, as its centre crop.

  Iterating gives pairs: a batch for the devices, and the `Item` of each photo in it.
  `image` is uint8 `[devices, batch / devices, size, size, 3]`; `label` int32 and `mask`
  float32 are `[devices, batch / devices]`. A photo that cannot be decoded or has no
  class has mask 0, as have the black images that fill up the last batch. A photo of a
  class that the list lacks has mask 1 and label 0; its item has none.
  """

  def __init__(
    self,
    photos: Source,
    classes: ClassList,
    *,
    batch_size: int,
    devices: int,
    image_size: int,
    short_side: int,
    threads: int | None = None,
    need_class: bool = True,
    batches: int | None = None,
  ):
    """Prepares to read.

    Args:
      photos: from `photos.open`.
      classes: what labels index.
      batch_size: photos a step, over all devices.
      devices: leading axis of a batch.
      image_size: side of the crop in pixels.
      short_side: of the photo that the crop is cut from, in pixels.
      threads: that read and decode; by default two for each core of this process.
      need_class: whether a photo without a class has mask 0; else label 0 and mask 1.
      batches: to give in a pass, as `batches_of_each` says for hosts that share photos;
        None: as many as there are photos for. Those beyond have mask 0 throughout, and
        no items.

    Raises:
      ValueError: the devices cannot share batch_size, or image_size is above
        short_side.
    """
    check_batch_size(batch_size, devices)
    crops.check(image_size, short_side)
    self._labels = {synset: label for label, synset in enumerate(classes.synsets)}
    self._photos, self._batch_size, self._devices = photos, batch_size, devices
    self._size, self._short_side = image_size, short_side
    self._need_class, self._batches = need_class, batches
    self._black = np.zeros((image_size, image_size, 3), np.uint8)
    # Decoding and resizing release the GIL; two a core keep reads in flight too.
    self._threads = threads or 2 * machine.cores()

  @property
  def total(self) -> int | None:
    """Batches in a pass; None if the number of photos is not known."""
    if self._batches is not None:
      return self._batches
    return batches_of_each(self._photos, self._batch_size, 1)

  def __len__(self) -> int:
    """Batches in a pass; TypeError where `total` is None."""
    if (total := self.total) is None:
      raise TypeError("the number of photos is not known before all are read")
    return total

  def __iter__(self) -> Iterator[tuple[dict[str, npt.NDArray[Any]], list[Item]]]:
    decoded, made = self._decoded(), 0
    try:
      while batch := list(itertools.islice(decoded, self._batch_size)):
        if made == self._batches:
          raise ValueError(
            f"there are more photos than the {made * self._batch_size:,} that were "
            "counted: leave them as they are, and start again"
          )
        made += 1
        yield self._lay_out(batch), [item for _, item in batch]
    finally:
      decoded.close()
    for _ in range(made, self._batches or 0):
      yield self._lay_out([]), []

  def _decoded(
    self,
  ) -> collections.abc.Generator[tuple[npt.NDArray[np.uint8], Item], None, None]:
    """Photos in their order; only some are in memory at a time."""
    pool = futures.ThreadPoolExecutor(self._threads, "decode")
    waiting: collections.deque[futures.Future[Any]] = collections.deque()
    try:
      for photo in self._photos:
        waiting.append(pool.submit(self._decode, photo))
        if len(waiting) >= 2 * self._threads:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:
      pool.shutdown(wait=False, cancel_futures=True)

  def _decode(self, photo: Photo) -> tuple[UInt8[np.ndarray, "size size 3"], Item]:
    label = self._labels.get(photo.synset)
    error = _NO_CLASS if self._need_class and not photo.synset else None
    image = self._black
    # A photo that could not be read has no class, perhaps: that is not the reason.
    if photo.problem:
      error = photo.problem[1]
    if error is None:
      try:
        whole = images.decode(photo.data)
        image = crops.center_crop(whole, self._size, self._short_side)
      except images.ImageError as reason:
        error = str(reason)
    return image, Item(photo.key, photo.synset, label, error, photo.loss)

  def _lay_out(
    self, batch: Sequence[tuple[npt.NDArray[np.uint8], Item]]
  ) -> dict[str, npt.NDArray[Any]]:
    fill = self._batch_size - len(batch)
    labels = [item.label or 0 for _, item in batch] + [0] * fill
    mask = [item.error is None for _, item in batch] + [False] * fill
    arrays: dict[str, npt.NDArray[Any]] = {
      "image": np.stack([image for image, _ in batch] + [self._black] * fill),
      "label": np.array(labels, np.int32),
      "mask": np.array(mask, np.float32),
    }
    return {
      name: array.reshape(self._devices, -1, *array.shape[1:])
      for name, array in arrays.items()
    }


def batches_of_each(photos: Source, batch_size: int, hosts: int) -> int | None:
  """Batches that each host makes of its share of photos, as many as the others.

  Args:
    photos: all of them, not a share.
    batch_size: of each host.
    hosts: number of hosts.

  Returns:
    None if the number of photos is not known.
  """
  count = photos.count
  return None if count is None else -(-count // (batch_size * hosts))

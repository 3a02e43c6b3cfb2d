"""Photos to be scored, wherever they lie: each can be read by its number.

`find` takes what a user names: a folder that `im21k pack` wrote, one of
`ILSVRC2012_val_*.JPEG`, one of synset folders, or `tfds:imagenet2012:validation`.
`ScoreLoader` makes batches of them for the labels of any class list.
"""

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from im21k import files, machine, synsets
from im21k.dataset import records
from im21k.dataset.manifest import MANIFEST, Manifest
from im21k.loading.config import check_batch_size
from im21k.photos import crops, images, sources
from im21k.synsets import ClassList

VALIDATION = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")
_SYNSET = re.compile(r"n[0-9]{8}")
TFDS = "tfds:"


@dataclasses.dataclass(frozen=True)
class Photo:
  """A photo's key, which leads back to it, its synset, and what reads its JPEG."""

  key: str
  synset: str
  read: Callable[[], bytes]


def find(data: Path, split: str, labels: Path | None = None) -> Sequence[Photo]:
  """The photos of `data`; see the head of this file for what it may be.

  Args:
    data: a folder, or `tfds:NAME:SPLIT`.
    split: of packed photos; others have one only.
    labels: of a folder of `ILSVRC2012_val_*.JPEG`: a synset id on line n for photo n;
      None takes the list in the package tensorflow-datasets.

  Raises:
    FileNotFoundError, ValueError: there are no such photos, or no labels for them.
  """
  if str(data).startswith(TFDS):
    found: Sequence[Photo] = _Prepared(str(data))
  elif (data / MANIFEST).is_file():
    found = _Packed(data, split)
  elif not data.is_dir():
    raise FileNotFoundError(
      f"{data} holds no packed photos: there is no such folder (what may be given: a "
      "folder from im21k pack, of ILSVRC2012_val_*.JPEG, or of synset folders, or "
      f"{TFDS}NAME:SPLIT)"
    )
  elif any(VALIDATION.fullmatch(name) for name in os.listdir(data)):
    return _validation(data, labels)
  else:
    found = [
      Photo(entry.key, entry.synset, functools.partial(files.read, entry.path))
      for entry in sources.synset_folders(data)
    ]
  if labels is not None:
    raise ValueError(
      f"labels are read for a folder of ILSVRC2012_val_*.JPEG, but {data} is none"
    )
  return found


class ScoreLoader:
  """Every photo exactly once, in order, as its centre crop.

  Iterating gives pairs of a batch for the devices, as from a TrainLoader, and the
  `Example`s in it. A photo that cannot be read has mask 0, as have the black images
  that fill up the last batch; one whose synset the classes lack has label 0.
  """

  def __init__(
    self,
    photos: Sequence[Photo],
    classes: ClassList,
    *,
    batch_size: int,
    devices: int,
    image_size: int,
    short_side: int,
    threads: int | None = None,
  ):
    """Prepares to read.

    Args:
      photos: from `find`.
      classes: what labels index.
      batch_size: photos a step, over all devices.
      devices: leading axis of a batch.
      image_size: side of the crop.
      short_side: of the photo that it is cut from.
      threads: for reading and decoding; by default two a core.

    Raises:
      ValueError: batch_size does not suit the devices.
    """
    check_batch_size(batch_size, devices)
    self._labels = {synset: label for label, synset in enumerate(classes.synsets)}
    self._photos, self._batch_size, self._devices = photos, batch_size, devices
    self._crop = functools.partial(
      crops.center_crop, size=image_size, short_side=short_side
    )
    self._black = np.zeros((image_size, image_size, 3), np.uint8)
    threads = threads or 2 * machine.cores()
    self._reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)

  def __len__(self) -> int:
    """Batches in a pass."""
    return -(-len(self._photos) // self._batch_size)

  def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], list["Example"]]]:
    read = grain.MapDataset.source(self._photos).map(self._read)
    examples = iter(read.to_iter_dataset(self._reading))
    while batch := list(itertools.islice(examples, self._batch_size)):
      yield self._lay_out(batch), [example for _, example in batch]

  def _read(self, photo: Photo) -> tuple[np.ndarray, "Example"]:
    label = self._labels.get(photo.synset)
    try:
      data = photo.read()
      images.check_jpeg(data, decode_all=False)
      image = self._crop(images.decode_jpeg(data))
    except (images.ImageError, OSError) as error:
      return self._black, Example(photo.key, photo.synset, label, str(error))
    return image, Example(photo.key, photo.synset, label, None)

  def _lay_out(self, batch: list) -> dict[str, np.ndarray]:
    fill = self._batch_size - len(batch)
    labels = [example.label or 0 for _, example in batch] + [0] * fill
    mask = [example.error is None for _, example in batch] + [False] * fill
    arrays = {
      "image": np.stack([image for image, _ in batch] + [self._black] * fill),
      "label": np.array(labels, np.int32),
      "mask": np.array(mask, np.float32),
    }
    return {
      name: array.reshape(self._devices, -1, *array.shape[1:])
      for name, array in arrays.items()
    }


@dataclasses.dataclass(frozen=True)
class Example:
  """A photo in a batch: its label, if the classes have one, or why it is black."""

  key: str
  synset: str
  label: int | None
  error: str | None


class _Packed(Sequence[Photo]):
  """A split of packed photos."""

  def __init__(self, folder: Path, split: str):
    manifest = Manifest.load(folder)
    self._synsets = manifest.classes(folder).synsets
    paths = manifest.shard_paths(folder, split)
    self._records = grain.sources.ArrayRecordDataSource(paths)

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: Any) -> Any:
    if not 0 <= index < len(self):
      raise IndexError(f"photo {index} of {len(self):,}")
    example = records.decode(self._records[index])
    return Photo(example.key, self._synsets[example.label], lambda: example.jpeg)


class _Prepared(Sequence[Photo]):
  """A split of a data set that TFDS has prepared, its JPEGs as they are."""

  def __init__(self, name: str):
    match name.removeprefix(TFDS).split(":"):
      case [dataset, split] if dataset and split:
        pass
      case _:
        raise ValueError(
          f"{name} should be {TFDS}NAME:SPLIT, {TFDS}imagenet2012:validation say"
        )
    # Only here: it brings 2 s and many modules along, but not TensorFlow.
    import tensorflow_datasets as tfds

    try:
      builder = tfds.builder(dataset, data_dir=os.environ.get("TFDS_DATA_DIR"))
      self._photos = builder.as_data_source(
        split, decoders={"image": tfds.decode.SkipDecoding()}
      )
    except (
      AssertionError, AttributeError, FileNotFoundError, NotImplementedError,
      ValueError, ImportError, tfds.core.DatasetNotFoundError,
    ) as error:  # fmt: skip
      raise ValueError(
        f"{name}: TFDS cannot read it: {error}. It must have been prepared with "
        "file_format='array_record', and TFDS_DATA_DIR must name its folder"
      ) from error
    features = dict(builder.info.features or {})
    ids = getattr(features.get("label"), "names", None) or ["no names"]
    strange = [s for s in ids if not _SYNSET.fullmatch(s)]
    if strange:
      raise ValueError(f"{name}: its labels are no synset ids, but {strange[:3]}")
    self._synsets, self._split = ids, split

  def __len__(self) -> int:
    return len(self._photos)

  def __getitem__(self, index: Any) -> Any:
    if not 0 <= index < len(self):
      raise IndexError(f"photo {index} of {len(self):,}")
    example = self._photos[index]
    name = example.get("file_name", f"{self._split}/{index}")
    key = name.decode() if isinstance(name, bytes) else name
    return Photo(key, self._synsets[example["label"]], lambda: example["image"])


def _validation(folder: Path, labels: Path | None) -> list[Photo]:
  ids = synsets.validation_labels(labels)
  photos = []
  for path in sorted(folder.iterdir()):
    if match := VALIDATION.fullmatch(path.name):
      number = int(match[1])
      if not 1 <= number <= len(ids):
        raise ValueError(f"{path}: there are labels for photos 1 to {len(ids):,}")
      photos.append(Photo(path.name, ids[number - 1], path.read_bytes))
  return photos

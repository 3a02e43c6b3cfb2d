"""Photos of a data set that TFDS has prepared, as they are, without TensorFlow."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.photos.photo import Photo

PREFIX = "tfds:"
INFO = "dataset_info.json"  # the file that makes a folder a prepared data set


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A split of a prepared data set.

  Attributes:
    where: its folder, or the name under which TFDS knows it.
    by_name: whether `where` is a name.
    split: the split.
    count: its photos.
    size: bytes, not known.
  """

  where: str
  by_name: bool
  split: str
  count: int
  size: int = 0

  def folder(self) -> Path:
    """The folder of its files."""
    if not self.by_name:
      return Path(self.where)
    import tensorflow_datasets as tfds

    data = os.environ.get("TFDS_DATA_DIR")
    return Path(tfds.builder(self.where, data_dir=data).data_path)

  def photos(self) -> Iterator[Photo]:
    """The photos in the order of the split; a damaged one has a problem."""
    return self.every(0, 1)

  def every(self, first: int, step: int) -> Iterator[Photo]:
    """Every `step`-th photo from this place on, in the order of the split."""
    examples, ids = _load(self.where, self.by_name, self.split)
    for index in range(first, self.count, step):
      yield self._photo(examples, ids, index)

  def located(self) -> Iterator[Photo]:
    """The same, each read at its place when it is asked for."""
    examples, _ = _load(self.where, self.by_name, self.split)
    for index, photo in enumerate(self.photos()):
      if photo.problem:
        yield photo
        continue
      read = functools.partial(_image, examples, index)
      yield Photo(photo.key, photo.synset, read)

  def _photo(self, examples: Any, ids: list[str], index: int) -> Photo:
    place = f"{self.split}-{index}"
    try:
      example = examples[index]
      label, image = int(example["label"]), bytes(example["image"])
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
      reason = " ".join(f"{self.where} example {index}: {error}".split())
      return Photo(place, "", problem=("unreadable", reason))
    name = example.get("file_name", place)
    name = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    # That of ImageNet's test photos is -1: they have no class.
    synset = ids[label] if 0 <= label < len(ids) else ""
    return Photo(f"{synset}/{name}" if synset else name, synset, image)


def in_folder(path: Path, split: str | None) -> Prepared:
  """A split of the data set prepared in a folder, by default `train`.

  `eval` is `validation` where the data set calls it so.

  Raises:
    ValueError: TFDS cannot read it, or its labels are not synset ids.
  """
  split = split or "train"
  if split == "eval" and not any(path.glob("*-eval.*")):
    split = "validation"
  return _prepared(str(path), False, split)


def by_name(name: str) -> Prepared:
  """The split that `tfds:NAME:SPLIT` names; TFDS_DATA_DIR names the folder.

  Raises:
    ValueError: it is not of this form, TFDS cannot read it, or its labels are not
      synset ids.
  """
  match name.removeprefix(PREFIX).split(":"):
    case [data_set, split] if data_set and split:
      return _prepared(data_set, True, split)
  raise ValueError(
    f"{name} should be {PREFIX}NAME:SPLIT, for example {PREFIX}imagenet2012:validation"
  )


def _image(examples: Any, index: int) -> bytes:
  try:
    return bytes(examples[index]["image"])
  except (RuntimeError, ValueError, KeyError, IndexError) as error:
    raise OSError(str(error)) from error


def _prepared(where: str, by_name: bool, split: str) -> Prepared:
  examples, _ = _load(where, by_name, split)
  return Prepared(where, by_name, split, len(examples))


def _load(where: str, by_name: bool, split: str) -> tuple[Any, list[str]]:
  """Examples by their index, photos not decoded, and the synset of each label."""
  # Only here: it takes 2 s and loads many modules, but not TensorFlow.
  import tensorflow_datasets as tfds

  shown = f"{PREFIX}{where}:{split}" if by_name else f"{where} split {split}"
  try:
    if by_name:
      builder = tfds.builder(where, data_dir=os.environ.get("TFDS_DATA_DIR"))
    else:
      builder = tfds.builder_from_directory(where)
    examples = builder.as_data_source(
      split, decoders={"image": tfds.decode.SkipDecoding()}
    )
  except (
    AssertionError, AttributeError, FileNotFoundError, NotImplementedError,
    ValueError, ImportError, tfds.core.DatasetNotFoundError,
  ) as error:  # fmt: skip
    reason = " ".join(str(error).split()).rstrip(".")
    raise ValueError(
      f"{shown}: TFDS cannot read it: {reason}. It must have been prepared with "
      "file_format='array_record'"
      + (", and TFDS_DATA_DIR must name its folder" if by_name else "")
    ) from error
  features = dict(builder.info.features or {})
  ids = list(getattr(features.get("label"), "names", None) or ["no names"])
  strange = [name for name in ids if not synsets.is_synset(name)]
  if strange:
    raise ValueError(f"{shown}: its labels are not synset ids, but {strange[:3]}")
  return examples, ids

"""Class lists of other people's weights, as differences to the 21,841 classes.

In: `foreign-lists.gz` beside this file: a byte for each of the 21,841, whose bits say
in which lists it is. Out: `ClassList`s in the order of those weights' outputs. Which
ids are in them are facts that timm 1.0.31 records in `timm/data/_info`.
"""

import functools
import gzip
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from im21k.synsets import wordnet
from im21k.synsets.classes import ClassList

TABLE = Path(__file__).with_name("foreign-lists.gz")
# The bit of each list, the lowest first.
BITS = ("imagenet12k", "imagenet21k-p", "imagenet21k-p-winter21", "ilsvrc2012")
_PICTURE, _BLEACHER, _TEDDY = "n03931044", "n09859684", "n04399382"


def table(lists: Mapping[str, Iterable[str]]) -> bytes:
  """The content of `foreign-lists.gz`: the ids of each of `BITS`, in any order."""
  full, bits = _full(), np.zeros(len(_full()), np.uint8)
  for bit, name in enumerate(BITS):
    bits |= np.isin(full, [*lists[name]]).astype(np.uint8) << bit
  return gzip.compress(bits.tobytes(), mtime=0)


def _subset(name: str) -> Callable[[], ClassList]:
  return lambda: ClassList(name, tuple(_of(name).tolist()))


def _google() -> ClassList:
  ids = sorted((*_full().tolist(), _PICTURE, _BLEACHER))
  return ClassList("imagenet21k-google", tuple(ids))


def _microsoft() -> ClassList:
  thousand = sorted((*_of("ilsvrc2012").tolist(), _TEDDY))
  others = np.setdiff1d(_full(), thousand).tolist()
  return ClassList("imagenet21k-microsoft", (*thousand, *others))


BY_NAME: dict[str, Callable[[], ClassList]] = {
  # timm's, of fall 2011 classes with many photos.
  "imagenet12k": _subset("imagenet12k"),
  # Ridnik et al. 2021, "ImageNet-21K Pretraining for the Masses": of fall and winter.
  "imagenet21k-p": _subset("imagenet21k-p"),
  "imagenet21k-p-winter21": _subset("imagenet21k-p-winter21"),
  # ViT, BiT, EfficientNetV2 and others: two classes more.
  "imagenet21k-google": _google,
  # FocalNet and others: the 1,000 of ILSVRC2012 first.
  "imagenet21k-microsoft": _microsoft,
}


@functools.cache
def _full() -> npt.NDArray[np.str_]:
  """The 21,841 ids, sorted."""
  graph = wordnet.load()
  return np.array(graph.ids)[graph.is_class]


def _of(name: str) -> npt.NDArray[np.str_]:
  """Those of the 21,841 that are in a list, sorted."""
  bits = np.frombuffer(gzip.decompress(TABLE.read_bytes()), np.uint8)
  chosen: npt.NDArray[np.str_] = _full()[(bits >> BITS.index(name) & 1) == 1]
  return chosen

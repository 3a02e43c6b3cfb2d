"""Classes of the photos, and the class list -> what another list would change."""

import contextlib
from collections.abc import Collection

from im21k import synsets, words


def about_thousand(found: Collection[str], classes: synsets.ClassList) -> str:
  """A line where all classes are ILSVRC2012's and the list is the one of 21,841.

  Args:
    found: the classes that have photos.
    classes: the list that their labels index.
  """
  if not found or classes.name != "imagenet21k" or classes.hash != _hash():
    return ""
  with contextlib.suppress(OSError, ValueError):  # Without that list, no hint.
    thousand = synsets.ilsvrc2012()
    if set(found) <= set(thousand.synsets):
      one = len(found) == 1
      all_of = "the one class is" if one else f"all {len(found):,} classes are"
      return (
        f"{all_of} of ILSVRC2012's {len(thousand):,}: with --classes ilsvrc2012, "
        f"labels and a model's outputs would be those {len(thousand):,}, not "
        f"{words.counted(len(classes), 'class')} (config inception_bn_1k)"
      )
  return ""


def _hash() -> str:
  return synsets.imagenet21k().hash

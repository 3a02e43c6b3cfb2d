"""The classes, and the WordNet graph over them.

In: synset ids such as `n01440764`, the byte offsets of WordNet 3.0's nouns (those of
WordNet 3.1 are others: never mix). Out: `get("imagenet21k")` and the like return a
`ClassList`, which says what label 7 means; `load()` gives `WordNet`, the graph of the
21,841 classes and everything above them, with names and definitions.

`python -m im21k.synsets.build` makes the table that `load` reads.
"""

from im21k.synsets.class_files import as_text, from_file
from im21k.synsets.classes import ClassList, ClassListMismatch, name, subset_indices
from im21k.synsets.ids import PATTERN as SYNSET
from im21k.synsets.ids import is_synset, normalized
from im21k.synsets.published import (
  get,
  ilsvrc2012,
  imagenet21k,
  validation_labels,
)
from im21k.synsets.wordnet import WordNet, load

__all__ = [
  "SYNSET",
  "ClassList",
  "ClassListMismatch",
  "WordNet",
  "as_text",
  "from_file",
  "get",
  "ilsvrc2012",
  "imagenet21k",
  "is_synset",
  "load",
  "name",
  "normalized",
  "subset_indices",
  "validation_labels",
]

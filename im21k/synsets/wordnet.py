"""The WordNet 3.0 graph over the 21,841 classes.

In: the table `wordnet-3.0.tsv.gz` beside this file, made by `im21k.synsets.build`.
Out: `WordNet`, with names and definitions by synset id and the edges as arrays.

The graph is the ancestor closure of the classes: 23,546 nodes under one root. It is a
DAG, not a tree: 453 classes have more than one hypernym.
"""

import dataclasses
import functools
import gzip
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

TABLE = Path(__file__).with_name("wordnet-3.0.tsv.gz")

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WordNet:
  """A graph of synsets in which every edge goes from a child to a hypernym.

  Nodes are numbered by their place in `ids`. What takes an id raises KeyError for one
  that it does not know. `lemmas`, `name`, `definition` and `hypernyms` also know the
  classes of other lists that are no nodes: teddy bear `n04399382` and bleacher
  `n09859684`.

  Attributes:
    ids: the synset id of each node, sorted; 23,546.
    index: the node of each synset id, the inverse of `ids`.
    is_class: bool [nodes], true at the 21,841 classes.
    child: int32 [edges], the lower node of each edge, in ascending order.
    parent: int32 [edges], the upper node of each edge: the hypernym.
    root: the one synset id without a hypernym, `n00001740`, entity.
  """

  ids: tuple[str, ...]
  index: Mapping[str, int]
  is_class: npt.NDArray[np.bool_]
  child: npt.NDArray[np.int32]
  parent: npt.NDArray[np.int32]
  root: str
  _row: Mapping[str, int]
  _hypernyms: Sequence[str]
  _names: Sequence[str]
  _definitions: Sequence[str]

  def knows(self, synset: str) -> bool:
    """Whether it has a name here."""
    return synset in self._row

  def lemmas(self, synset: str) -> tuple[str, ...]:
    """The synonyms, commonest first, with spaces: `("teddy", "teddy bear")`."""
    return tuple(self.name(synset).split(", "))

  def name(self, synset: str) -> str:
    """The synonyms in one string: `"teddy, teddy bear"`."""
    return self._names[self._row[synset]]

  def definition(self, synset: str) -> str:
    """WordNet's gloss without the example sentences that follow it."""
    return self._definitions[self._row[synset]]

  def hypernyms(self, synset: str) -> tuple[str, ...]:
    """The synsets directly above, both of classes (`@`) and of instances (`@i`)."""
    return tuple(self._hypernyms[self._row[synset]].split())


@functools.cache
def load() -> WordNet:
  """The graph, read at the first call and shared from then on: do not change it.

  Reading takes less than a tenth of a second; importing this module reads nothing.
  """
  return parse(gzip.decompress(TABLE.read_bytes()).decode("ascii"))


def parse(table: str) -> WordNet:
  """The graph that a table describes; for the table's form see `build.table`."""
  body = table.split("\n", 2)[2]
  cells = body.replace("\n", "\t").split("\t")  # Columns at once: rows take longer.
  ids, kinds, hypernyms, names, definitions = (cells[at:-1:5] for at in range(5))
  is_node = [kind != "extra" for kind in kinds]
  nodes = tuple(itertools.compress(ids, is_node))
  above = list(itertools.compress(hypernyms, is_node))
  index = _Known(zip(nodes, itertools.count()))
  is_class = [kind == "class" for kind in itertools.compress(kinds, is_node)]
  degree = [len(some.split()) for some in above]
  (root,) = (synset for synset, some in zip(nodes, above, strict=True) if not some)
  return WordNet(
    ids=nodes,
    index=index,
    is_class=_constant(is_class, np.bool_),
    child=_constant(np.repeat(np.arange(len(nodes)), degree), np.int32),
    parent=_constant([index[synset] for synset in " ".join(above).split()], np.int32),
    root=root,
    _row=_Known(zip(ids, itertools.count())),
    _hypernyms=hypernyms,
    _names=names,
    _definitions=definitions,
  )


class _Known(dict[str, int]):
  """A dictionary by synset id whose KeyError says what is wrong."""

  def __missing__(self, synset: str) -> NoReturn:
    raise KeyError(
      f"{synset!r} is not in the WordNet 3.0 graph over the 21,841 classes; ids look "
      "like 'n01440764', and those of WordNet 3.1 are others"
    )


def _constant(values: npt.ArrayLike, dtype: type[_Scalar]) -> npt.NDArray[_Scalar]:
  array = np.array(values, dtype)
  array.setflags(write=False)  # `load` gives the same arrays to everyone.
  return array
